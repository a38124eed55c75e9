"""The relays that a pace is tried against, and what counts as all that each takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.pace.models import (
    CLOSING,
    ConnectionCap,
    DayQuota,
    FixedWindow,
    Greylisting,
    Hot,
    MailsPerConnection,
    Model,
    RandomRefusals,
    SlidingWindow,
    TokenBucket,
)
from benchmarks.pace.simulation import Sender, World

LEARNING_S = 30
MEASURED_S = 300


@dataclass(frozen=True)
class Scenario:
    """A relay, its limit, and the load.

    Attributes:
        models: makes the relay's limits.
        limit_per_s: mails a second that it takes on average while it is measured.
        offered_per_s: of all senders together.
        noise: refusals a mail that no pace can avoid.
        learning_s: before this nothing counts; whole windows for a relay that counts by windows.
        answer_s: how long the relay takes for a mail.
    """

    name: str
    models: Callable[[], Sequence[Model]]
    limit_per_s: float
    offered_per_s: float
    noise: float = 0.0
    learning_s: int = LEARNING_S
    answer_s: float = 0.01


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        taken: mails taken ÷ the limit, while measured.
        refusals: refusals a mail taken, while measured.
        curve: taken ÷ limit in every 30 seconds from the start.
        shares: what each sender got, of all.
    """

    taken: float
    refusals: float
    curve: list[float]
    shares: list[float]
    wait_p50_s: float
    wait_p95_s: float


def limited(rate_per_s: float) -> list[Scenario]:
    """Relays with a limit of so many mails a second."""
    offered = max(1.5 * rate_per_s, rate_per_s + 20)
    answer_s = 0.003 if rate_per_s > 900 else 0.01
    rate = f"{rate_per_s:g}/s"

    def scenario(
        name: str, models: Callable[[], Sequence[Model]], *, learning_s: int = LEARNING_S
    ) -> Scenario:
        return Scenario(name, models, rate_per_s, offered, learning_s=learning_s, answer_s=answer_s)

    return [
        scenario(f"{rate}, token bucket of 1 s", lambda: [TokenBucket(rate_per_s)]),
        scenario(f"{rate}, any window of 1 s", lambda: [SlidingWindow(rate_per_s)]),
        scenario(
            f"{rate}, any window of 60 s", lambda: [SlidingWindow(rate_per_s, 60)], learning_s=60
        ),
        scenario(
            f"{rate}, each minute, as anvil", lambda: [FixedWindow(rate_per_s)], learning_s=60
        ),
        scenario(f"{rate}, closing with 421", lambda: [TokenBucket(rate_per_s, reply=CLOSING)]),
    ]


def others() -> list[Scenario]:
    """Relays that limit something else, or that refuse for no limit's sake."""
    return [
        Scenario("2 % refused at random, 200/s offered", lambda: [RandomRefusals(0.02)],
                 200, 200, noise=0.02),
        Scenario("0.2 % refused at random, 200/s offered", lambda: [RandomRefusals(0.002)],
                 200, 200, noise=0.002),
        Scenario("2 % at random and 200/s",
                 lambda: [RandomRefusals(0.02), TokenBucket(200)], 200, 300, noise=0.02),
        Scenario("2 % at random and 14/s",
                 lambda: [RandomRefusals(0.02), TokenBucket(14)], 14, 34, noise=0.02),
        Scenario("10 % greylisted and 14/s",
                 lambda: [Greylisting(0.1), TokenBucket(14)], 14, 34),
        Scenario("14/s, 7/s from 100 s to 200 s",
                 lambda: [TokenBucket(14, changes=((100, 7), (200, 14)))], 14 * 5 / 6, 34),
        Scenario("200/s, 100/s from 100 s to 200 s",
                 lambda: [TokenBucket(200, changes=((100, 100), (200, 200)))], 200 * 5 / 6, 300),
        Scenario("20 mails a connection, 200/s offered", lambda: [MailsPerConnection(20)],
                 200, 200),
        Scenario("5 connections, 400/s offered", lambda: [ConnectionCap(5)], 400, 400),
        Scenario("1 % of recipients never taken, 200/s offered", lambda: [Hot(10)],
                 198, 200, noise=0.1),
        Scenario("0.5 s a mail", list, 20, 100, answer_s=0.5),
        Scenario("5,000 a day, 100/s offered", lambda: [DayQuota(5000)],
                 2000 / MEASURED_S, 100),
    ]  # fmt: skip


def run(scenario: Scenario, *, senders: int, seed: int = 1) -> Outcome:
    """Simulate a scenario."""
    end_s = scenario.learning_s + MEASURED_S
    world = World(scenario.models(), until_s=end_s, seed=seed)
    limit = scenario.limit_per_s
    if scenario.answer_s >= 0.5:
        limit *= senders
    processes = [
        Sender(
            world,
            offered_per_s=scenario.offered_per_s / senders,
            answer_s=scenario.answer_s,
        )
        for _ in range(senders)
    ]
    world.run()
    count = world.count
    taken = sum(count.taken[scenario.learning_s : end_s])
    refused = sum(count.refused[scenario.learning_s : end_s])
    waits = sorted(wait for at_s, wait in count.waits if at_s >= scenario.learning_s) or [0.0]
    every = sum(sender.taken for sender in processes)
    return Outcome(
        taken=taken / MEASURED_S / limit,
        refusals=refused / max(1, taken),
        curve=[sum(count.taken[at : at + 30]) / 30 / limit for at in range(0, end_s - 29, 30)],
        shares=[sender.taken / max(1, every) for sender in processes],
        wait_p50_s=waits[len(waits) // 2],
        wait_p95_s=waits[len(waits) * 95 // 100],
    )
