"""A burst of mails against ways to choose the number of senders: a simulation, second by second.

What is modelled: records of a topic in partitions, each sender's capacity, the relays' rate limit
shared by owned partitions, pods that take time to start, rebalances in which nobody delivers, and
the HorizontalPodAutoscaler as Kubernetes documents it (tolerance, policies, stabilization) fed by
KEDA's triggers. Bounds and thresholds are the operator's own. Not modelled: failures, retries, and
mails of unequal cost. Nothing is random: a run can be repeated.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mailtopic_operator.domain.children.scaling import relay_quota, scaled_object
from mailtopic_operator.domain.defaults import KafkaAccess, OperatorDefaults
from mailtopic_operator.domain.desired import Desired

DURATION_S: Final = 1800
BURST_FROM_S: Final = 120
BURST_S: Final = 300
BASE_PER_S: Final = 10
BURST_FACTOR: Final = 20

START_S: Final = 12
"""From a decision to a pod that is in the group."""
REBALANCE_S: Final = 4
"""How long a change of the group stops its deliveries."""
SYNC_S: Final = 15
"""How often the HorizontalPodAutoscaler looks (its default)."""
STABILIZE_S: Final = 300
"""For how long the highest wish holds before senders are taken away (its default)."""
TOLERANCE: Final = 0.1
"""How far from the target nothing is changed (its default)."""
SCRAPE_S: Final = 30
SLO_S: Final = 30


def mailtopic(
    *, target_lag_s: int = 30, rate_limit: str | None = None, partitions: int = 12
) -> Desired:
    """Return a MailTopic that KEDA scales, the operator's defaults in all else."""
    scaling = {"provider": "KEDA", "targetLagSeconds": target_lag_s}
    relay = {"name": "ses", "host": "smtp.example.net"}
    body = {
        "metadata": {
            "namespace": "mail",
            "name": "codes",
            "uid": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "topic": {"partitions": partitions},
            "from": {"address": "noreply@example.net"},
            "relays": [relay | ({"rateLimit": rate_limit} if rate_limit else {})],
            "consumers": {"autoscaling": scaling},
        },
    }
    return Desired.parse(body, OperatorDefaults(kafka=KafkaAccess("kafka:9092")))


@dataclass(slots=True)
class Partition:
    """Records that wait, by the second in which they came."""

    waiting: deque[list[int]] = field(default_factory=deque)

    def lag_s(self, now_s: int) -> int:
        """Return the age of the oldest record."""
        return now_s - self.waiting[0][0] if self.waiting else 0

    @property
    def records(self) -> int:
        """How many wait."""
        return sum(count for _, count in self.waiting)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a trigger looks at."""

    records: int
    scraped_lag_s: int
    senders: int


Wish = Callable[[Seen], tuple[float, int]]
"""Returns usage over target, and the number of senders that would bring it to 1."""


def by_records(desired: Desired) -> Wish:
    """KEDA's Kafka trigger, as the operator orders it: an average of records for each sender."""
    trigger = scaled_object(desired)["spec"]["triggers"][0]["metadata"]
    threshold = int(trigger["lagThreshold"])
    partitions = desired.spec.topic.partitions

    def wish(seen: Seen) -> tuple[float, int]:
        # Without allowIdleConsumers KEDA asks for no more senders than partitions.
        records = min(seen.records, threshold * partitions)
        return records / (threshold * seen.senders), math.ceil(records / threshold)

    return wish


def by_seconds(desired: Desired) -> Wish:
    """KEDA's Prometheus trigger on mailtopic_lag_seconds, metricType Value: in proportion to it."""
    target_s = desired.spec.consumers.autoscaling.target_lag_seconds

    def wish(seen: Seen) -> tuple[float, int]:
        ratio = seen.scraped_lag_s / target_s
        return ratio, math.ceil(ratio * seen.senders)

    return wish


def by_both(desired: Desired) -> Wish:
    """Both triggers: the HorizontalPodAutoscaler follows the one that wants more."""
    triggers = (by_records(desired), by_seconds(desired))

    def wish(seen: Seen) -> tuple[float, int]:
        return max((trigger(seen) for trigger in triggers), key=lambda each: each[1])

    return wish


@dataclass
class Autoscaler:
    """The HorizontalPodAutoscaler with its default behaviour; without a wish a fixed number."""

    wish: Wish | None
    least: int
    most: int
    wishes: deque[tuple[int, int]] = field(default_factory=deque)

    def decide(self, seen: Seen, now_s: int) -> int:
        """Return how many senders there shall be."""
        if self.wish is None:
            return self.least
        ratio, wanted = self.wish(seen)
        if abs(ratio - 1) <= TOLERANCE:
            wanted = seen.senders
        wanted = min(max(wanted, self.least), self.most)
        self.wishes.append((now_s, wanted))
        while self.wishes[0][0] <= now_s - STABILIZE_S:
            self.wishes.popleft()
        if wanted > seen.senders:
            # At most four pods, or as many as there are, in 15 s.
            return min(wanted, seen.senders + max(4, seen.senders))
        return min(seen.senders, max(wish for _, wish in self.wishes))


@dataclass(frozen=True)
class Run:
    """What came of it: a point for each second, and what counts in the end."""

    name: str
    lag_s: tuple[int, ...]
    replicas: tuple[int, ...]
    latencies: Mapping[int, int]

    @property
    def mails(self) -> int:
        """Delivered ones."""
        return sum(self.latencies.values())

    @property
    def in_time(self) -> float:
        """The share that was delivered within SLO_S."""
        return sum(n for s, n in self.latencies.items() if s <= SLO_S) / self.mails

    @property
    def worst_s(self) -> int:
        """The longest that a mail took."""
        return max(self.latencies)

    @property
    def over_target_s(self) -> int:
        """For how long the lag was above SLO_S."""
        return sum(lag > SLO_S for lag in self.lag_s)

    @property
    def sender_minutes(self) -> float:
        """What it cost."""
        return sum(self.replicas) / 60

    @property
    def changes(self) -> int:
        """How often the number of senders changed; each is a rebalance."""
        return sum(a != b for a, b in zip(self.replicas, self.replicas[1:], strict=False))


@dataclass
class World:
    """The topic, the group and the relay."""

    desired: Desired
    senders: int
    capacity_per_s: int
    partitions: list[Partition] = field(default_factory=list)
    latencies: dict[int, int] = field(default_factory=dict)
    stopped_until_s: int = 0
    _share: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = self.desired.spec.topic.partitions
        self.partitions = [Partition() for _ in range(count)]
        self._share = [0.0] * count

    def arrive(self, now_s: int) -> None:
        """Add a second's records, spread evenly."""
        is_burst = BURST_FROM_S <= now_s < BURST_FROM_S + BURST_S
        count, size = BASE_PER_S * (BURST_FACTOR if is_burst else 1), len(self.partitions)
        for at, partition in enumerate(self.partitions):
            part = (count * (at + 1)) // size - (count * at) // size
            if part:
                partition.waiting.append([now_s, part])

    def deliver(self, now_s: int) -> None:
        """Let each sender do what it, and its share of the relay's limit, can do in a second."""
        if now_s < self.stopped_until_s:
            return
        quota = relay_quota(self.desired)
        for sender in range(self.senders):
            owned = range(sender, len(self.partitions), self.senders)
            if not owned:
                continue
            share = math.inf if quota is None else quota * len(owned) / len(self.partitions)
            budget = self._share[sender] + min(self.capacity_per_s, share)
            left = self._work(now_s, owned, int(budget))
            # A limit below one a second adds up; what wasn't used is no credit.
            self._share[sender] = (budget - int(budget)) if left == 0 else 0.0

    def _work(self, now_s: int, owned: range, budget: int) -> int:
        while budget:
            busy = [self.partitions[at] for at in owned if self.partitions[at].waiting]
            if not busy:
                return budget
            oldest = min(busy, key=lambda partition: partition.waiting[0][0])
            came_s, count = oldest.waiting[0]
            done = min(count, budget)
            budget -= done
            self.latencies[now_s - came_s] = self.latencies.get(now_s - came_s, 0) + done
            if done == count:
                oldest.waiting.popleft()
            else:
                oldest.waiting[0][1] -= done
        return 0

    @property
    def records(self) -> int:
        """How many wait."""
        return sum(partition.records for partition in self.partitions)

    def lag_s(self, now_s: int) -> int:
        """Return the age of the oldest record of all."""
        return max(partition.lag_s(now_s) for partition in self.partitions)


def simulate(
    name: str, desired: Desired, wish: Wish | None, *, capacity_per_s: int, fixed: int = 0
) -> Run:
    """Let the burst come and go; capacity_per_s is what a sender can do, whatever was assumed."""
    spec: dict[str, Any] = scaled_object(desired)["spec"]
    least = fixed or int(spec["minReplicaCount"])
    scaler = Autoscaler(wish, least=least, most=int(spec["maxReplicaCount"]))
    world = World(desired, senders=least, capacity_per_s=capacity_per_s)
    wanted, starting, scraped = least, deque[tuple[int, int]](), 0
    lags, replicas = [], []
    for now_s in range(DURATION_S):
        world.arrive(now_s)
        world.deliver(now_s)
        if now_s % SCRAPE_S == 0:
            scraped = world.lag_s(now_s)
        if now_s % SYNC_S == 0:
            seen = Seen(world.records, scraped, wanted)
            after = scaler.decide(seen, now_s)
            if after != wanted:
                starting.append((now_s + (START_S if after > wanted else 0), after))
                wanted = after
        while starting and starting[0][0] <= now_s:
            world.senders = starting.popleft()[1]
            world.stopped_until_s = now_s + REBALANCE_S
        lags.append(world.lag_s(now_s))
        replicas.append(wanted)
    return Run(name, tuple(lags), tuple(replicas), world.latencies)


@dataclass(frozen=True)
class Scene:
    """What the world does to the senders.

    Attributes:
        rate_limit: that of the relay; None: none.
        capacity_per_s: mails a second that a sender can do.
    """

    title: str
    rate_limit: str | None = None
    capacity_per_s: int = 50


SCENES: Final = (
    Scene("Senders do what mailsPerSecondPerSender says"),
    Scene("Senders do 25 mails/s, half of what it says", None, 25),
    Scene("The relay's limit is 120 mails/s, the burst has 200", "120/s"),
)


def runs(scene: Scene) -> tuple[Run, ...]:
    """Return the ways side by side."""
    late = mailtopic(rate_limit=scene.rate_limit)
    soon = mailtopic(target_lag_s=10, rate_limit=scene.rate_limit)

    def run(name: str, desired: Desired, wish: Wish | None, fixed: int = 0) -> Run:
        return simulate(name, desired, wish, capacity_per_s=scene.capacity_per_s, fixed=fixed)

    return (
        run("fixed, 2 senders", late, None, 2),
        run("fixed, 4 senders", late, None, 4),
        run("records, target 30 s", late, by_records(late)),
        run("records, target 10 s", soon, by_records(soon)),
        run("lag seconds, target 10 s", soon, by_seconds(soon)),
        run("both, target 10 s", soon, by_both(soon)),
    )
