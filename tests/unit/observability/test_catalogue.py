"""The catalogue tells what the members really show."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from mailtopic_observability.catalogue import KAFKAS, METRICS, OURS, SAMPLES
from mailtopic_observability.shown_metrics import LIBRARIES, shape_of
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_runtime import BUILD_INFO, process_registry
from mailtopic_sender.adapters.relay_metrics import RelayMetrics
from mailtopic_sender.domain.pace import Learned
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.relays.breaker import BreakerState
from mailtopic_sender.engine.relays.port import Connections
from mailtopic_sender.engine.relays.state import RelayState
from mailtopic_sender.metrics import SenderMetrics
from mailtopic_signup.metrics import SignupMetrics
from support.requirements import require

RELAY = RelayState(
    "first",
    5.0,
    BreakerState.CLOSED,
    Connections(1, 1, 2),
    {ReplyClass.ACCEPTED: 1},
    Learned(4.5, 2, 20),
)


def sender() -> CollectorRegistry:
    registry = CollectorRegistry()
    SenderMetrics(registry, "mails", relays=["first"])
    registry.register(RelayMetrics(lambda: [RELAY], topic="mails"))
    return registry


def signup() -> CollectorRegistry:
    registry = CollectorRegistry()
    SignupMetrics(registry)
    return registry


def operator() -> CollectorRegistry:
    registry = CollectorRegistry()
    OperatorMetrics(registry).watch(
        queue_depth=lambda: 0, watch_age_s=lambda: 0, mailtopics=lambda: ()
    )
    return registry


MEMBERS = {"sender": sender, "signup": signup, "operator": operator}
ABOUT_PEOPLE = re.compile(r"mail_?id|message|address|recipient|email|code(?!$)|locale|purpose|key")


@pytest.mark.parametrize("member", MEMBERS)
def test_the_catalogue_has_what_a_member_shows_and_nothing_else(member: str) -> None:
    shown = {
        (f"{metric.name}_total" if metric.type == "counter" else metric.name): metric
        for metric in MEMBERS[member]().collect()
    }
    listed = {metric.name: metric for metric in OURS if metric.members == (member,)}
    assert shown.keys() == listed.keys()
    for name, metric in shown.items():
        assert (metric.type, metric.documentation) == (listed[name].kind, listed[name].help)
        for sample in metric.samples:
            labels = sample.labels.keys() - {"le"}
            if not sample.name.endswith("_created"):
                assert sample.name in listed[name].samples
                assert labels == set(listed[name].label_names), name


def test_a_label_has_a_closed_set_of_values_or_takes_them_from_settings() -> None:
    open_labels = {
        (label.name, label.words) for metric in OURS for label in metric.labels if not label.values
    }
    assert {name for name, _ in open_labels} == {
        "topic",
        "relay",
        "partition",
        "route",
        "status",
        "code",
        "version",
    }
    assert all(words for _, words in open_labels)


def test_no_label_is_about_a_person_or_a_mail() -> None:
    names = {name for metric in METRICS for name in metric.label_names}
    assert {name for name in names if ABOUT_PEOPLE.search(name)} == set()


def test_every_metric_of_ours_says_what_it_is_and_what_for_in_a_sentence() -> None:
    texts = [text for metric in OURS for text in (metric.help, metric.use)]
    assert [text for text in texts if not text.endswith(".") and "; " not in text] == []
    assert len({metric.name for metric in OURS}) == len(OURS)


def test_samples_hold_the_parts_of_histograms_and_what_kafka_shows() -> None:
    assert {
        "mailtopic_delivery_seconds_bucket",
        "mailtopic_delivery_seconds_count",
        "mailtopic_mails_total",
        "process_start_time_seconds",
        "python_info",
    } <= SAMPLES
    assert "mailtopic_delivery_seconds" not in SAMPLES
    assert len(KAFKAS) > 40


def test_known_series_are_there_at_0_before_anything_happens() -> None:
    def values(registry: CollectorRegistry, name: str) -> Iterator[float]:
        for metric in registry.collect():
            yield from (sample.value for sample in metric.samples if sample.name == name)

    assert list(values(sender(), "mailtopic_mails_total")) == [0] * 2 * 8
    assert list(values(sender(), "mailtopic_dead_letters_total")) == [0] * 15
    assert len(list(values(sender(), "mailtopic_stage_seconds_count"))) == 4
    assert len(list(values(operator(), "mailtopic_operator_mailtopics"))) == 30


@pytest.mark.skipif(sys.platform != "linux", reason="unit: only Linux tells of a process in /proc")
def test_what_is_listed_of_the_library_is_what_it_shows() -> None:
    text = generate_latest(process_registry("sender")).decode()
    shape = [each for each in shape_of(text) if each["name"] != BUILD_INFO.name]
    if os.environ.get("MAILTOPIC_UPDATE_GOLDEN"):
        LIBRARIES.keep(shape)
    assert shape == LIBRARIES.shape


@pytest.mark.parametrize("member", MEMBERS)
def test_names_and_help_follow_the_rules_of_prometheus(member: str) -> None:
    if not (tool := shutil.which("promtool")):
        require("unit", "there is no promtool: Debian's package is prometheus")
    registry = MEMBERS[member]()
    registry.register(process_registry(member))
    checked = subprocess.run(  # noqa: S603 - Debian's program
        [tool, "check", "metrics"],
        input=generate_latest(registry),
        capture_output=True,
        check=False,
    )
    said = (checked.stdout + checked.stderr).decode()
    # One over seconds has no suffix of its own, and a rate's unit is never left out.
    known = "mailtopic_relay_rate_limit_per_s"
    assert checked.returncode in {0, 3}, said
    assert [line for line in said.splitlines() if line and not line.startswith(known)] == []
