"""How far behind a consumer is, by event time, including records that it hasn't read yet."""

from collections.abc import Collection
from dataclasses import dataclass

from mailtopic_runtime import Clock
from mailtopic_sender.engine.assignment import Partition
from mailtopic_sender.engine.watermark import OffsetTracker
from mailtopic_sender.metrics import SenderMetrics
from mailtopic_sender.ports import TopicPartition


@dataclass(slots=True)
class _Seen:
    """The last observed state of a partition.

    Attributes:
        watermark: its position, and since when (monotonic seconds).
        newest_ms: the record time of the newest received record.
        unread_since_ms: a time no earlier than the oldest unread record's; None if nothing is
            unread.
    """

    watermark: int | None
    moved_s: float
    newest_ms: int | None = None
    unread_since_ms: int | None = None


class LagMeter:
    """Sets the gauges of each owned partition.

    Lag is the age of the oldest record without a recorded outcome. The age of an unread record is
    unknown, so for those it is the age of the last one that was read, or the time for which they
    have been seen to wait: if both are wrong, the lag shown is too small until the next record is
    read.
    """

    def __init__(self, metrics: SenderMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._seen: dict[TopicPartition, _Seen] = {}

    def show(
        self, partitions: Collection[Partition], unread: Collection[TopicPartition] = ()
    ) -> None:
        """Set the gauges; `unread` are the partitions with unread records."""
        for partition in partitions:
            place, tracker = partition.place, partition.tracker
            seen = self._look(place, tracker, is_unread=place in unread)
            labels = (place.topic, str(place.partition))
            self._metrics.lag_seconds.labels(*labels).set(self._lag_s(tracker, seen))
            age_s = self._clock.monotonic_s() - seen.moved_s if tracker.incomplete else 0.0
            self._metrics.watermark_age_seconds.labels(*labels).set(age_s)
            self._metrics.window_offsets.labels(*labels).set(tracker.window)

    def forget(self, places: Collection[TopicPartition]) -> None:
        """Remove these partitions' gauges: another member owns them."""
        for place in places:
            if self._seen.pop(place, None) is not None:
                for gauge in self._metrics.of_partitions:
                    gauge.remove(place.topic, str(place.partition))

    def _look(self, place: TopicPartition, tracker: OffsetTracker, *, is_unread: bool) -> _Seen:
        now_s, newest_ms = self._clock.monotonic_s(), tracker.newest_timestamp_ms
        seen = self._seen.setdefault(place, _Seen(tracker.watermark, now_s))
        if seen.watermark != tracker.watermark or not tracker.incomplete:
            seen.watermark, seen.moved_s = tracker.watermark, now_s
        has_read = newest_ms is not None and newest_ms != seen.newest_ms
        if not is_unread:
            seen.unread_since_ms = None
        elif has_read and (seen.unread_since_ms is not None or tracker.incomplete):
            # It has been behind throughout: the next record is hardly newer than the last one.
            seen.unread_since_ms = newest_ms
        elif seen.unread_since_ms is None:
            seen.unread_since_ms = self._clock.now_ms()
        seen.newest_ms = newest_ms
        return seen

    def _lag_s(self, tracker: OffsetTracker, seen: _Seen) -> float:
        times = [t for t in (tracker.oldest_timestamp_ms, seen.unread_since_ms) if t is not None]
        return max(self._clock.now_ms() - min(times), 0) / 1000 if times else 0.0
