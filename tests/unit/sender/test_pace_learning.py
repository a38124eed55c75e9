"""The pace of a relay against relay models, in virtual time."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.pace.models import (
    MailsPerConnection,
    Model,
    Offered,
    RandomRefusals,
    Reply,
    TokenBucket,
)
from benchmarks.pace.scenarios import Scenario, limited, others, run
from benchmarks.pace.simulation import Sender, World
from mailtopic_sender.domain.pace import Learned, PaceBounds, Refusal, RefusalKind, RelayPace

_SLOW = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
_SCENARIOS = {each.name: each for each in itertools.chain(limited(1), limited(14), others())}
_BUSY = Reply(451, "4.3.0", "Temporary failure", "mail")


def _simulate(
    models: list[Model], *, offered_per_s: float, seconds: int, **sender: object
) -> World:
    world = World(models, until_s=seconds)
    Sender(world, offered_per_s=offered_per_s, **sender)  # type: ignore[arg-type]
    world.run()
    return world


@pytest.mark.parametrize(
    ("name", "senders", "refusals"),
    [
        ("1/s, token bucket of 1 s", 1, 0.03),
        ("14/s, token bucket of 1 s", 1, 0.03),
        ("14/s, token bucket of 1 s", 3, 0.03),
        ("14/s, any window of 1 s", 1, 0.03),
        ("14/s, any window of 1 s", 3, 0.03),
        ("14/s, any window of 60 s", 1, 0.03),
        ("14/s, each minute, as anvil", 1, 0.03),
        ("14/s, each minute, as anvil", 3, 0.03),
        ("14/s, closing with 421", 1, 0.03),
        ("2 % refused at random, 200/s offered", 1, 0.03),
        ("0.2 % refused at random, 200/s offered", 1, 0.01),
        ("20 mails a connection, 200/s offered", 1, 0.001),
        ("5 connections, 400/s offered", 1, 0.001),
        ("14/s, 7/s from 100 s to 200 s", 1, 0.03),
        ("5,000 a day, 100/s offered", 1, 0.01),
        ("1 % of recipients never taken, 200/s offered", 1, 0.3),
    ],
)
def test_nearly_all_that_a_relay_takes_is_sent_and_little_is_refused(
    name: str, senders: int, refusals: float
) -> None:
    outcome = run(_SCENARIOS[name], senders=senders)
    assert outcome.taken >= 0.9
    assert outcome.refusals <= refusals
    if senders > 1:
        assert min(outcome.shares) > 0.1


def test_the_sum_is_back_at_the_limit_within_a_minute_when_others_come_and_go() -> None:
    world = World([TokenBucket(14)], until_s=330)
    Sender(world, offered_per_s=34)
    for _ in range(3):
        Sender(world, offered_per_s=34, starts_s=100, ends_s=200)
    world.run()
    taken = world.count.taken
    assert sum(taken[110:200]) / 90 >= 0.9 * 14
    assert sum(taken[260:330]) / 70 >= 0.9 * 14


def test_a_relay_without_limits_is_never_slowed_down() -> None:
    world = _simulate([], offered_per_s=300, seconds=30)
    assert sum(world.count.taken) >= 299 * 30
    pace = RelayPace(PaceBounds(), now_s=0.0)
    assert pace.is_open
    assert pace.wait_s(0.0) == 0
    assert all(pace.take(0.0) for _ in range(10_000))


def test_what_was_learned_holds_after_a_restart() -> None:
    world = World([TokenBucket(14)], until_s=60)
    before = Sender(world, offered_per_s=34)
    world.run()
    learned = before.pace.learned
    assert learned.rate_per_s == pytest.approx(14, rel=0.1)
    again = World([TokenBucket(14)], until_s=60)
    Sender(again, offered_per_s=34, learned=learned)
    again.run()
    assert sum(again.count.refused) <= 0.03 * sum(again.count.taken)
    assert sum(again.count.taken) >= 0.9 * 14 * 60


def test_a_cap_of_mails_a_connection_is_found_and_is_no_rate() -> None:
    world = World([MailsPerConnection(20)], until_s=60)
    sender = Sender(world, offered_per_s=200)
    world.run()
    assert sender.pace.learned.mails_per_connection in {19, 20}
    assert sum(world.count.refused) < 30


def test_closings_at_random_are_no_cap() -> None:
    world = World([RandomRefusals(0.02)], until_s=60)
    sender = Sender(world, offered_per_s=100)
    world.run()
    assert sender.pace.learned.mails_per_connection is None
    assert sender.pace.mails_per_connection == 100


def test_a_relay_that_takes_nothing_is_asked_seldom_and_used_again_soon() -> None:
    world = _simulate([Away((30, 150))], offered_per_s=20, seconds=240)
    assert sum(world.count.refused[40:150]) < 80
    assert sum(world.count.refused[30:150]) > 10
    assert sum(world.count.taken[200:240]) >= 20 * 40


class Away(Model):
    """Takes nothing at times."""

    def __init__(self, *spans: tuple[float, float]) -> None:
        self._spans = spans

    def offer(self, offered: Offered, /) -> Reply | None:
        return _BUSY if any(since <= offered.now_s < end for since, end in self._spans) else None


@pytest.mark.parametrize("limit", [14, 200])
@pytest.mark.parametrize("outage_s", [2, 5, 8, 10, 60])
def test_the_known_pace_comes_back_within_seconds_of_an_outage(limit: int, outage_s: int) -> None:
    end_s = 60 + outage_s
    world = _simulate(
        [Away((60, end_s), (end_s + 100, end_s + 108)), TokenBucket(limit)],
        offered_per_s=limit * 2,
        seconds=end_s + 170,
    )
    for back_s in (end_s + 3, end_s + 111):
        assert sum(world.count.taken[back_s : back_s + 50]) >= 0.93 * limit * 50


@pytest.mark.parametrize("outage_s", [20, 60, 600])
@pytest.mark.parametrize("mails_before", [0, 60])
def test_an_outage_after_few_mails_says_nothing_of_the_rate(
    mails_before: int, outage_s: int
) -> None:
    pace = RelayPace(PaceBounds(), now_s=0.0)
    for minute in range(mails_before):
        assert pace.take(minute * 60.0)
        pace.accepted(minute * 60.0 + 0.1)
    began_s = mails_before * 60.0
    for number in range(outage_s):
        now_s = began_s + number
        if pace.take(now_s):
            pace.refused(now_s + 0.1, Refusal(RefusalKind.PASSING, now_s, recipient=number))
    taken = 0
    for number in range(600):
        now_s = began_s + outage_s + number * 0.1
        if pace.take(now_s):
            pace.accepted(now_s + 0.05)
            taken += 1
    assert taken > 500


@_SLOW
@given(
    rate=st.sampled_from([2.0, 14.0, 50.0]),
    share=st.sampled_from([0.25, 0.5, 1.0]),
    noise=st.sampled_from([0.0, 0.02, 0.2]),
)
def test_settings_are_never_exceeded(rate: float, share: float, noise: float) -> None:
    world = World([RandomRefusals(noise)], until_s=40)
    bounds = PaceBounds(rate_per_s=rate, max_connections=3, mails_per_connection=7)
    sender = Sender(world, offered_per_s=200, bounds=bounds)
    sender.pace.set_share(share, 0.0)
    world.run()
    offers = sender.offers
    for at_s in range(40):
        within = sum(at_s <= each < at_s + 1 for each in offers)
        assert within <= rate * share * 1.1 + 1.01
    assert sender.pace.connections <= 3
    assert sender.pace.mails_per_connection <= 7


@_SLOW
@given(
    limit=st.floats(2, 60),
    burst_s=st.sampled_from([0.1, 1.0, 3.0]),
    noise=st.sampled_from([0.0, 0.002, 0.02]),
    greedy=st.floats(1.2, 20),
)
def test_it_neither_starves_nor_swings(
    limit: float, burst_s: float, noise: float, greedy: float
) -> None:
    world = _simulate(
        [RandomRefusals(noise), TokenBucket(limit, burst_s=burst_s)],
        offered_per_s=limit * greedy,
        seconds=150,
    )
    takes_all = limit * (1 - noise)
    for at_s in range(40, 150, 10):
        taken = sum(world.count.taken[at_s : at_s + 10])
        assert taken >= 0.25 * takes_all * 10 - 2  # never starves
        assert taken + sum(world.count.refused[at_s : at_s + 10]) <= 1.8 * limit * 10 + 5
    # Where a limit and refusals at random come together, one is taken for the other at times.
    least = 0.5 if noise > 0.01 else 0.75
    assert sum(world.count.taken[50:150]) >= least * takes_all * 100


@_SLOW
@given(share=st.floats(0.3, 0.9))
def test_a_relay_that_refuses_most_at_random_is_still_offered_mails(share: float) -> None:
    world = _simulate([RandomRefusals(share)], offered_per_s=50, seconds=120)
    for at_s in range(0, 120, 30):
        within = slice(at_s, at_s + 30)
        assert sum(world.count.taken[within]) + sum(world.count.refused[within]) >= 3


def test_learned_values_are_bounded_by_the_settings() -> None:
    pace = RelayPace(
        PaceBounds(rate_per_s=5, max_connections=2, mails_per_connection=10), now_s=0.0
    )
    learned = Learned(rate_per_s=100, connections=9, mails_per_connection=50)
    pace.adopt(learned, 0.0, is_hint=False)
    assert pace.connections == 2
    assert pace.mails_per_connection == 10
    assert sum(pace.take(at / 100) for at in range(100)) <= 6


def test_every_scenario_has_a_limit_to_be_held_against() -> None:
    every: list[Scenario] = [*limited(1), *limited(2000), *others()]
    assert all(each.limit_per_s > 0 and each.offered_per_s > 0 for each in every)
