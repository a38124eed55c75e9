"""Lag by event time."""

from prometheus_client import CollectorRegistry

from mailtopic_runtime import ManualClock
from mailtopic_sender.engine.assignment import Partition
from mailtopic_sender.engine.lag import LagMeter
from mailtopic_sender.metrics import SenderMetrics
from mailtopic_sender.ports import TopicPartition
from support.conditions import until
from support.engines import Engine

PLACE = TopicPartition("mails", 3)
LABELS = {"topic": "mails", "partition": "3"}


class Meter:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.registry = CollectorRegistry()
        self.partition = Partition.resume(PLACE, None)
        self.lag = LagMeter(SenderMetrics(self.registry, "mails"), self.clock)
        self.offset = 0

    def receive(self, *, age_s: float) -> int:
        """Receive a record of this age; returns its offset."""
        self.offset += 1
        written_ms = self.clock.now_ms() - round(age_s * 1000)
        self.partition.tracker.receive(self.offset, timestamp_ms=written_ms)
        return self.offset

    def shown(self, *, unread: bool = False, name: str = "lag_seconds") -> float | None:
        self.lag.show([self.partition], [PLACE] if unread else [])
        return self.registry.get_sample_value(f"mailtopic_{name}", LABELS)


def test_nothing_to_do_is_no_lag() -> None:
    meter = Meter()
    assert meter.shown() == 0
    offset = meter.receive(age_s=50)
    meter.partition.tracker.complete(offset)
    assert meter.shown() == 0


def test_lag_is_the_age_of_the_oldest_record_without_an_outcome() -> None:
    meter = Meter()
    first, second = meter.receive(age_s=50), meter.receive(age_s=20)
    assert meter.shown() == 50
    meter.partition.tracker.complete(second)
    assert meter.shown() == 50
    meter.partition.tracker.complete(first)
    assert meter.shown() == 0


def test_records_that_were_not_read_are_as_old_as_the_last_that_was() -> None:
    meter = Meter()
    offset = meter.receive(age_s=50)
    assert meter.shown(unread=True) == 50
    meter.partition.tracker.complete(offset)
    meter.clock.advance(10)
    assert meter.shown(unread=True) == 60
    offset = meter.receive(age_s=40)
    meter.partition.tracker.complete(offset)
    assert meter.shown(unread=True) == 40


def test_a_record_that_comes_after_a_quiet_day_has_no_lag_of_a_day() -> None:
    meter = Meter()
    offset = meter.receive(age_s=0)
    meter.partition.tracker.complete(offset)
    assert meter.shown() == 0
    meter.clock.advance(86_400)
    assert meter.shown(unread=True) == 0
    meter.clock.advance(2)
    assert meter.shown(unread=True) == 2


def test_the_watermark_ages_while_its_record_stays_the_same() -> None:
    meter = Meter()
    first, second = meter.receive(age_s=0), meter.receive(age_s=0)
    assert meter.shown(name="watermark_age_seconds") == 0
    meter.clock.advance(30)
    assert meter.shown(name="watermark_age_seconds") == 30
    assert meter.shown(name="window_offsets") == 2
    meter.partition.tracker.complete(first)
    assert meter.shown(name="watermark_age_seconds") == 0
    assert meter.shown(name="window_offsets") == 1
    meter.partition.tracker.complete(second)
    meter.clock.advance(30)
    assert meter.shown(name="watermark_age_seconds") == 0


def test_a_partition_that_was_given_up_is_not_shown() -> None:
    meter = Meter()
    meter.receive(age_s=5)
    assert meter.shown() == 5
    meter.lag.forget([PLACE])
    assert meter.registry.get_sample_value("mailtopic_lag_seconds", LABELS) is None


async def test_a_sender_that_is_full_shows_the_lag_of_what_waits_behind() -> None:
    engine = Engine(max_in_flight=2, max_held_records=4)
    engine.relay.gate.clear()
    for number in range(30):
        await engine.publish(f"u{number}@example.com")
    engine.clock.advance(90)
    labels = {"topic": "mails", "partition": "0"}

    def lag() -> float | None:
        return engine.registry.get_sample_value("mailtopic_lag_seconds", labels)

    async with engine.running():
        await until(lambda: lag() == 90, "the lag is shown")
        assert engine.registry.get_sample_value("mailtopic_in_flight", {"topic": "mails"}) == 2
        engine.relay.gate.set()
        await until(lambda: lag() == 0, "nothing is behind")
    assert lag() is None
