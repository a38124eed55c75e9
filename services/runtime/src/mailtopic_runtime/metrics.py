"""Metrics as declarations: their names, their labels' values, their purpose.

A label that counts what comes from outside has a closed set of values: whatever isn't among them
is counted as ``other``, so that input can't make a process hold ever more series. The docs are
generated from the same declarations.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from mailtopic_runtime.one_writer import OneWriterCounter, OneWriterHistogram

OTHER: Final = "other"
"""Stands for every value outside a closed set."""

MEMBERS: Final = ("operator", "sender", "signup")


class Kind(StrEnum):
    """A metric's type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Label:
    """A label.

    Attributes:
        values: the closed set; empty: they come from settings or from the assignment, never
            from a record, a request or a reply.
        words: describes the values that aren't listed.
    """

    name: str
    values: tuple[str, ...] = ()
    words: str = ""

    def bound(self, value: str) -> str:
        """Return the value, or OTHER if it is none of a closed set."""
        return value if not self.values or value in self.values else OTHER


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric.

    Attributes:
        name: as /metrics shows it, a counter's with ``_total``.
        help: what it measures, for /metrics.
        use: what it is useful for, for the guide.
        buckets: upper bounds of a histogram.
        one_writer: only one thread ever counts or observes, and often: see `one_writer`.
    """

    name: str
    kind: Kind
    help: str
    use: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    one_writer: bool = False

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels' names, in order."""
        return tuple(label.name for label in self.labels)

    @property
    def samples(self) -> tuple[str, ...]:
        """The names of the series that Prometheus stores."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.name,)

    def bound(self, *values: str) -> tuple[str, ...]:
        """Return label values that can be used, in the order of `labels`."""
        return tuple(label.bound(value) for label, value in zip(self.labels, values, strict=True))

    def counter(self, registry: CollectorRegistry, **known: Iterable[str]) -> Counter:
        """Make the counter, each of its series started at 0 if all label values are known.

        Args:
            registry: where it is registered.
            known: the values of labels that have no closed set.
        """
        # The library adds _total by itself.
        name = self.name.removesuffix("_total")
        make = OneWriterCounter if self.one_writer else Counter
        counter = make(name, self.help, self.label_names, registry=registry)
        for values in self._start(known):
            counter.labels(*values)
        return counter

    def gauge(self, registry: CollectorRegistry, **known: Iterable[str]) -> Gauge:
        """Make the gauge; arguments as for `counter`."""
        gauge = Gauge(self.name, self.help, self.label_names, registry=registry)
        for values in self._start(known):
            gauge.labels(*values)
        return gauge

    def histogram(self, registry: CollectorRegistry, **known: Iterable[str]) -> Histogram:
        """Make the histogram; arguments as for `counter`."""
        make = OneWriterHistogram if self.one_writer else Histogram
        histogram = make(
            self.name, self.help, self.label_names, buckets=self.buckets, registry=registry
        )
        for values in self._start(known):
            histogram.labels(*values)
        return histogram

    def _start(self, known: Mapping[str, Iterable[str]]) -> Iterable[tuple[str, ...]]:
        if not self.labels:
            return ()
        return itertools.product(
            *(tuple(known.get(label.name, label.values)) for label in self.labels)
        )


BUILD_INFO: Final = Family(
    name="mailtopic_build_info",
    kind=Kind.GAUGE,
    help="1; the labels tell what is running.",
    use="Which version a pod runs; whether an upgrade has reached all.",
    labels=(
        Label("version", words="version of the package"),
        Label("component", MEMBERS),
    ),
)


def process_registry(component: str) -> CollectorRegistry:
    """Return a registry with the metrics of process, interpreter and version.

    Args:
        component: one of MEMBERS; the package mailtopic-<component> is installed.
    """
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    release = version(f"mailtopic-{component}")
    BUILD_INFO.gauge(registry, version=(release,), component=(component,)).labels(
        release, component
    ).set(1)
    return registry
