"""Counters and histograms that one thread writes and any thread reads, without locks.

The library takes a lock for every number that changes, and a histogram looks at its buckets one
after another: for a sender, which observes six numbers a mail, that is more than sending it costs.
Here an observation is two additions. The library makes what /metrics shows, with these values,
when it is requested.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import Counter, Histogram
from prometheus_client.samples import Exemplar, Sample


class OneWriterCounter(Counter):
    """A counter that only one thread may increase. It takes no exemplars."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._count = 0.0

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """Add to it."""
        if amount < 0 or exemplar:
            raise ValueError("it only grows, and has no exemplars")
        self._count += amount

    def _child_samples(self) -> Iterable[Sample]:
        counted = {"_total": self._count}
        return [_with_value(sample, counted) for sample in super()._child_samples()]


class OneWriterHistogram(Histogram):
    """A histogram in which only one thread may observe."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._counts = [0] * len(self._upper_bounds)
        self._total = 0.0

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Observe an amount; an exemplar is the trace to look at."""
        bucket = bisect_left(self._upper_bounds, amount)
        self._counts[bucket] += 1
        self._total += amount
        if exemplar:
            self._buckets[bucket].set_exemplar(Exemplar(exemplar, amount, time.time()))

    def _child_samples(self) -> Iterable[Sample]:
        # Copied first, in one step: the other thread keeps observing meanwhile.
        below = [float(count) for count in accumulate(self._counts.copy())]
        counted = {"_count": below[-1], "_sum": self._total}
        samples = [_with_value(sample, counted) for sample in super()._child_samples()]
        for number, count in enumerate(below):  # the buckets come first
            samples[number] = samples[number]._replace(value=count)
        return samples


def _with_value(sample: Sample, values: dict[str, float]) -> Sample:
    return sample._replace(value=values.get(sample.name, sample.value))
