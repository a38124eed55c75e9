"""When the next attempt is due, and in which retry topic. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailtopic_contract import RetryTier


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The tier whose topic holds the mail, and when the attempt is due, epoch milliseconds."""

    tier: RetryTier
    not_before_ms: int


def next_attempt(
    tiers: Sequence[RetryTier],
    *,
    attempt: int,
    now_ms: int,
    expires_at_ms: int,
    retry_after_s: float | None = None,
    soon: bool = False,
) -> NextAttempt | None:
    """Return the attempt after the one that failed; None if none can be due before expiry.

    The nth failure waits in the nth tier, later ones in the last. A pause that the relay asked for
    moves the mail to the first tier that is long enough. If the planned tier would be due too late,
    the longest one that isn't is used instead: a code is worth a last attempt.

    Args:
        tiers: at least one, the shortest delay first.
        attempt: the attempt that failed, from 1.
        now_ms: the wall time, epoch milliseconds.
        expires_at_ms: when the mail is worthless, epoch milliseconds.
        retry_after_s: the pause that the relay asked for, seconds.
        soon: take the shortest tier, whatever the attempt.
    """
    asked_ms = round((retry_after_s or 0.0) * 1000)
    planned = tiers[0 if soon else min(attempt, len(tiers)) - 1]
    long_enough = [tier for tier in tiers if tier.delay_ms >= max(asked_ms, planned.delay_ms)]
    wanted = long_enough[0] if long_enough else tiers[-1]
    fitting = [
        tier
        for tier in tiers
        if now_ms + tier.delay_ms < expires_at_ms
        and min(asked_ms, wanted.delay_ms) <= tier.delay_ms <= wanted.delay_ms
    ]
    return NextAttempt(fitting[-1], now_ms + fitting[-1].delay_ms) if fitting else None
