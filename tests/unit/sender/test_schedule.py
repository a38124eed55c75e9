"""When the next attempt is due."""

from hypothesis import given
from hypothesis import strategies as st

from mailtopic_contract import DEFAULT_TIERS
from mailtopic_sender.domain.schedule import next_attempt

NOW = 1_790_000_000_000
HOUR_MS = 3_600_000


def tier_of(attempt: int, **others: object) -> str | None:
    following = next_attempt(
        DEFAULT_TIERS,
        attempt=attempt,
        now_ms=NOW,
        **{"expires_at_ms": NOW + HOUR_MS, **others},  # type: ignore[arg-type]
    )
    return following.tier.name if following else None


def test_each_failure_waits_in_the_next_tier_and_then_in_the_last() -> None:
    assert [tier_of(attempt) for attempt in (1, 2, 3, 4, 50)] == ["10s", "1m", "5m", "5m", "5m"]


def test_an_unknown_fate_is_tried_again_soon() -> None:
    assert tier_of(9, soon=True) == "10s"


def test_a_pause_that_the_relay_asked_for_chooses_a_longer_tier() -> None:
    assert tier_of(1, retry_after_s=30) == "1m"
    assert tier_of(1, retry_after_s=5) == "10s"
    assert tier_of(1, retry_after_s=100_000) == "5m"


def test_a_last_attempt_is_made_in_a_shorter_tier_before_the_mail_expires() -> None:
    assert tier_of(4, expires_at_ms=NOW + 299_000) == "1m"
    assert tier_of(4, expires_at_ms=NOW + 59_000) == "10s"
    assert tier_of(1, expires_at_ms=NOW + 9_000) is None


def test_a_pause_that_outlasts_the_mail_ends_it() -> None:
    assert tier_of(1, expires_at_ms=NOW + 40_000, retry_after_s=50) is None


@given(
    left_ms=st.integers(-HOUR_MS, HOUR_MS),
    retry_after_s=st.none() | st.floats(0, 10_000),
    attempt_soon=st.tuples(st.integers(1, 1000), st.booleans()),
)
def test_no_attempt_is_ever_due_after_expiry(
    attempt_soon: tuple[int, bool], left_ms: int, retry_after_s: float | None
) -> None:
    attempt, soon = attempt_soon
    following = next_attempt(
        DEFAULT_TIERS,
        attempt=attempt,
        now_ms=NOW,
        expires_at_ms=NOW + left_ms,
        retry_after_s=retry_after_s,
        soon=soon,
    )
    if following is not None:
        assert NOW < following.not_before_ms < NOW + left_ms
        assert following.not_before_ms == NOW + following.tier.delay_ms
