"""The operator's metrics count MailTopics by their conditions, and never name one."""

import random
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from mailtopic_operator.engine.store import Store
from mailtopic_operator.metric_families import CONDITIONS, STATUSES
from mailtopic_operator.metrics import OperatorMetrics

NAME = "mailtopic_operator_mailtopics"


def mail_topic(name: str, **conditions: str) -> dict[str, Any]:
    status = {"conditions": [{"type": t, "status": s} for t, s in conditions.items()]}
    return {
        "metadata": {"namespace": "mail", "name": name, "uid": name, "resourceVersion": "1"},
        "status": status,
    }


def registry_of(*bodies: Mapping[str, Any]) -> CollectorRegistry:
    registry, store = CollectorRegistry(), Store()
    for body in bodies:
        store.put("MailTopic", body)
    store.put("Deployment", mail_topic("no-mailtopic", Ready="False"))
    OperatorMetrics(registry).watch(
        queue_depth=lambda: 0, watch_age_s=lambda: 0, mailtopics=lambda: store.bodies("MailTopic")
    )
    return registry


def counted(registry: CollectorRegistry, condition: str) -> list[float | None]:
    return [
        registry.get_sample_value(NAME, {"condition": condition, "status": status})
        for status in STATUSES
    ]


def test_mailtopics_are_counted_by_condition_and_status() -> None:
    registry = registry_of(
        mail_topic("a", Ready="True", Paused="False"),
        mail_topic("b", Ready="False", Stalled="True"),
        mail_topic("c", Ready="False"),
    )
    assert counted(registry, "Ready") == [1, 2, 0]
    assert counted(registry, "Paused") == [0, 1, 0]
    assert counted(registry, "Stalled") == [1, 0, 0]


def test_a_mailtopic_of_which_nothing_is_known_is_not_ready_for_unknown_reasons() -> None:
    new = mail_topic("new")
    del new["status"]
    assert counted(registry_of(new), "Ready") == [0, 0, 1]


def test_no_condition_of_somebody_else_becomes_a_series() -> None:
    strangers = [mail_topic(f"t{n}", **{f"Example{n}": "True", "Ready": f"{n}"}) for n in range(50)]
    samples = [
        sample
        for metric in registry_of(*strangers).collect()
        for sample in metric.samples
        if sample.name == NAME
    ]
    assert len(samples) == len(CONDITIONS) * len(STATUSES)


def test_an_api_server_that_answers_nonsense_makes_no_series_without_bound() -> None:
    registry, chance = CollectorRegistry(), random.Random(7)  # noqa: S311 - repeatable
    metrics = OperatorMetrics(registry)
    for number in range(5000):
        metrics.count_api_request(f"verb{number}", chance.randrange(-(10**6), 10**6))
        metrics.count_api_request("get", None)
    name = "mailtopic_operator_api_requests_total"
    codes = {
        (sample.labels["verb"], sample.labels["code"])
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == name
    }
    assert {verb for verb, _ in codes} == {"get", "other"}
    assert len(codes) <= 500 + 2
