"""Colors with the same meaning on every dashboard."""

from typing import Final

GOOD: Final = "green"
WAITS: Final = "yellow"
WORSE: Final = "orange"
BAD: Final = "red"

OUTCOMES: Final = {
    "accepted": GOOD,
    "deferred": WAITS,
    "bounced": WORSE,
    "dead": BAD,
    "expired": "purple",
    "superseded": "blue",
    "suppressed": "light-blue",
    "unknown": "dark-red",
}
REPLIES: Final = {
    "accepted": GOOD,
    "transient": WAITS,
    "greylisted": "light-yellow",
    "throttled": WORSE,
    "mailbox_full": "light-orange",
    "hard_bounce": "dark-orange",
    "provider_suppressed": "light-green",
    "content": "light-red",
    "sender": "super-light-red",
    "reputation": "dark-purple",
    "quota": "purple",
    "auth": BAD,
    "blocked": "semi-dark-red",
    "policy": "dark-red",
    "protocol": "dark-blue",
    "closing": "light-blue",
    "transport": "blue",
    "unknown": "light-purple",
}
RESULTS: Final = {
    "accepted": "blue",
    "verified": GOOD,
    "resent": "light-blue",
    "replayed": "light-green",
    "cooling": WAITS,
    "wrong_code": WORSE,
    "expired": "purple",
    "locked": BAD,
    "refused": "dark-red",
}
QUANTILES: Final = {"p50": "light-blue", "p95": "blue", "p99": "dark-blue", "objective": BAD}


def at_most(*, worse: float, bad: float) -> tuple[tuple[float | None, str], ...]:
    """Return steps for a number that should be small."""
    return ((None, GOOD), (worse, WORSE), (bad, BAD))


def at_least(*, worse: float, good: float) -> tuple[tuple[float | None, str], ...]:
    """Return steps for a number that should be large."""
    return ((None, BAD), (worse, WORSE), (good, GOOD))


NEVER: Final = ((None, GOOD), (1.0, BAD))
"""For counts that should stay at 0."""
EXPECTED: Final = ((None, BAD), (1.0, GOOD))
"""For counts that should be at least 1."""
