"""A rate is kept over every span of time, and nobody waits for longer than it asks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_runtime import ManualClock
from mailtopic_sender.domain.token_bucket import TokenBucket

RATES = st.floats(min_value=0.01, max_value=1000)
PAUSES = st.lists(st.floats(min_value=0, max_value=30), max_size=60)
SHARES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])


def take_all(bucket: TokenBucket) -> int:
    taken = 0
    while bucket.take():
        bucket.spend()
        taken += 1
    return taken


@given(RATES, PAUSES)
def test_no_span_of_time_sees_more_than_the_rate_and_the_burst(
    rate_per_s: float, pauses: list[float]
) -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate_per_s, clock=clock)
    takes = [(0.0, take_all(bucket))]
    for pause_s in pauses:
        clock.advance(pause_s)
        takes.append((clock.monotonic_s(), take_all(bucket)))
    for first, (from_s, _) in enumerate(takes):
        total = 0
        for to_s, taken in takes[first:]:
            total += taken
            assert total <= rate_per_s * (to_s - from_s) + bucket.burst + 1e-6


@given(RATES, st.lists(st.tuples(st.floats(min_value=0, max_value=30), SHARES), max_size=40))
def test_the_bound_holds_while_the_share_changes(
    rate_per_s: float, steps: list[tuple[float, float]]
) -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate_per_s, clock=clock)
    earned, taken, share = 0.0, take_all(bucket), 1.0
    for pause_s, next_share in steps:
        clock.advance(pause_s)
        earned += rate_per_s * share * pause_s
        bucket.set_share(next_share)
        share = next_share
        taken += take_all(bucket)
        assert taken <= earned + 1 + rate_per_s * 0.2 + 1e-6


@given(RATES, st.integers(min_value=0, max_value=300), st.sampled_from([0.1, 0.5, 1.0]))
def test_whoever_waits_as_long_as_told_gets_a_token(
    rate_per_s: float, ahead: int, share: float
) -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate_per_s, clock=clock)
    bucket.set_share(share)
    promised_s = bucket.wait_s(ahead)
    assert promised_s <= (ahead + 1) / (rate_per_s * share)
    for _ in range(ahead + 1):
        clock.advance(bucket.wait_s())
        assert bucket.take()
        bucket.spend()
    assert clock.monotonic_s() <= promised_s + 1e-6


@pytest.mark.parametrize("senders", [1, 3, 7])
def test_the_shares_of_a_group_add_up_to_the_rate(senders: int) -> None:
    clock = ManualClock()
    buckets = [TokenBucket(14.0, clock=clock) for _ in range(senders)]
    for bucket in buckets:
        bucket.set_share(1 / senders)
    taken = 0
    for _ in range(6000):
        clock.advance(0.01)
        taken += sum(take_all(bucket) for bucket in buckets)
    assert 14 * 60 - senders <= taken <= 14 * 60 + senders + 3


def test_without_a_share_nothing_comes_and_nothing_is_saved_up() -> None:
    clock = ManualClock()
    bucket = TokenBucket(0.5, clock=clock)
    bucket.set_share(0)
    assert not bucket.take()
    assert bucket.wait_s() == math.inf
    clock.advance(3600)
    bucket.set_share(1.0)
    assert take_all(bucket) == 1


def test_a_token_that_was_not_used_can_be_taken_again() -> None:
    bucket = TokenBucket(0.1, clock=ManualClock())
    assert bucket.take()
    assert not bucket.take()
    bucket.give_back()
    assert bucket.take()


@given(RATES, st.lists(st.tuples(st.floats(min_value=0, max_value=5), st.integers(0, 20))))
def test_what_is_held_up_on_its_way_does_not_come_all_at_once(
    rate_per_s: float, steps: list[tuple[float, int]]
) -> None:
    clock = ManualClock()
    bucket = TokenBucket(rate_per_s, clock=clock)
    under_way = 0
    spends = [(0.0, 0)]
    for pause_s, offered in steps:
        clock.advance(pause_s)
        while bucket.take():
            under_way += 1
        count = min(offered, under_way)
        for _ in range(count):
            bucket.spend()
        under_way -= count
        spends.append((clock.monotonic_s(), count))
    for first, (from_s, _) in enumerate(spends):
        total = 0
        for to_s, spent in spends[first:]:
            total += spent
            assert total <= rate_per_s * (to_s - from_s) + bucket.burst + 1e-6


def test_tokens_come_again_when_those_taken_are_spent() -> None:
    clock = ManualClock()
    bucket = TokenBucket(0.1, clock=clock)
    assert bucket.take()
    clock.advance(3600)
    before = bucket.is_exhausted
    assert not bucket.take()
    bucket.spend()
    assert (before, bucket.is_exhausted) == (True, False)
    clock.advance(bucket.wait_s())
    assert bucket.take()
