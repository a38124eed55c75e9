"""Counters and histograms of one writer show what the library's own would."""

import re
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from mailtopic_runtime import Family, Kind, Label

COUNTER = Family(
    name="example_total",
    kind=Kind.COUNTER,
    help="Examples.",
    use="Nothing.",
    labels=(Label("result", ("good", "bad")),),
)
HISTOGRAM = Family(
    name="example_seconds",
    kind=Kind.HISTOGRAM,
    help="Time.",
    use="Nothing.",
    labels=(Label("stage", ("queue", "wait")),),
    buckets=(0, 0.5, 1, 2.5),
)
TRACE = {"trace_id": "0af7651916cd43dd8448eb211c80319c"}
amounts = st.floats(0, 1e9) | st.sampled_from([0.0, 0.5, 1.0, 2.5, float("inf")])


def shown(registry: CollectorRegistry) -> str:
    # When a series began, and when an exemplar was seen, differs by microseconds.
    text = generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    return re.sub(r"(_created\S* |\} \S+ )[0-9.e+]{12,}", r"\1", text)


@given(
    st.lists(st.tuples(st.sampled_from(["queue", "wait"]), amounts, st.sampled_from([None, TRACE])))
)
def test_a_histogram_shows_what_the_librarys_shows(
    observed: list[tuple[str, float, dict[str, str] | None]],
) -> None:
    registries = []
    for one_writer in (False, True):
        registry = CollectorRegistry()
        histogram = replace(HISTOGRAM, one_writer=one_writer).histogram(registry)
        for stage, amount, exemplar in observed:
            histogram.labels(stage).observe(amount, exemplar)
        registries.append(shown(registry))
    assert registries[0] == registries[1]


@given(st.lists(st.tuples(st.sampled_from(["good", "bad"]), st.integers(0, 2**40))))
def test_a_counter_shows_what_the_librarys_shows(counted: list[tuple[str, int]]) -> None:
    registries = []
    for one_writer in (False, True):
        registry = CollectorRegistry()
        counter = replace(COUNTER, one_writer=one_writer).counter(registry)
        for result, amount in counted:
            counter.labels(result).inc(amount)
        registries.append(shown(registry))
    assert registries[0] == registries[1]


def test_a_counter_only_grows() -> None:
    counter = replace(COUNTER, one_writer=True).counter(CollectorRegistry())
    with pytest.raises(ValueError, match="grows"):
        counter.labels("good").inc(-1)


def test_whoever_reads_meanwhile_sees_numbers_that_fit_together_and_never_fall() -> None:
    registry = CollectorRegistry()
    child = replace(HISTOGRAM, one_writer=True).histogram(registry).labels("queue")
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            for amount in (0.1, 0.7, 2.0, 9.0):
                child.observe(amount)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        before = [0.0] * 6
        for _ in range(300):
            samples = [
                sample
                for metric in registry.collect()
                for sample in metric.samples
                if sample.labels["stage"] == "queue"
            ]
            buckets = [sample.value for sample in samples if sample.name.endswith("_bucket")]
            (count,) = [sample.value for sample in samples if sample.name.endswith("_count")]
            assert buckets == sorted(buckets)
            assert buckets[-1] == count
            now = [*buckets, count]
            assert all(was <= is_now for was, is_now in zip(before, now, strict=True))
            before = now
    finally:
        done.set()
        writing.join()
    assert before[-1] > 0
