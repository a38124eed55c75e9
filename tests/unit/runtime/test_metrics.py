"""Declared metrics: closed sets of label values, and series that start at 0."""

import pytest
from prometheus_client import CollectorRegistry

from mailtopic_runtime import OTHER, Family, Kind, Label, process_registry

FAMILY = Family(
    name="example_total",
    kind=Kind.COUNTER,
    help="Examples.",
    use="Nothing.",
    labels=(Label("place", words="where it is"), Label("result", ("good", "bad"))),
)


def values(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["place"], sample.labels["result"]): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "example_total"
    }


def test_a_value_that_a_closed_set_does_not_have_is_counted_as_other() -> None:
    registry = CollectorRegistry()
    counter = FAMILY.counter(registry)
    for number in range(100):
        counter.labels(*FAMILY.bound("here", f"surprise {number}")).inc()
    assert values(registry) == {("here", OTHER): 100}


def test_series_whose_labels_are_known_start_at_0() -> None:
    registry = CollectorRegistry()
    FAMILY.counter(registry, place=("here", "there"))
    assert values(registry) == {
        (place, result): 0 for place in ("here", "there") for result in ("good", "bad")
    }


def test_series_whose_labels_are_not_known_wait_for_their_first_event() -> None:
    registry = CollectorRegistry()
    FAMILY.counter(registry)
    assert values(registry) == {}


def test_a_label_too_few_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="zip"):
        FAMILY.bound("here")


def test_a_histogram_is_stored_as_three_kinds_of_series() -> None:
    family = Family(name="a_seconds", kind=Kind.HISTOGRAM, help="A.", use="A.", buckets=(1,))
    assert family.samples == ("a_seconds_bucket", "a_seconds_count", "a_seconds_sum")


def test_a_process_tells_its_version_and_component() -> None:
    (info,) = [
        sample
        for metric in process_registry("sender").collect()
        for sample in metric.samples
        if sample.name == "mailtopic_build_info"
    ]
    assert (info.labels["component"], info.value) == ("sender", 1)
    assert info.labels["version"]
