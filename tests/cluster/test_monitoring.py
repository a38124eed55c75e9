"""A Prometheus in the cluster finds all pods by their annotations, and dashboards show data.

MAILTOPIC_PICTURES=1 lets it go on for a while, with a burst and an outage, and draws the
dashboards into docs/images.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from localcluster.client import ClusterClient
from support.dashboard_pictures import IMAGES, draw
from support.dashboards import PanelQuery, filled_in, queries, read_dashboards
from support.drawing.answers import Answers, Window
from support.kube_crds import crds_as_before
from support.kube_mailtopics import CRDS, MailTopics
from support.kube_people import People
from support.kube_prometheus import SCRAPE_S, prometheus_beside
from support.kube_release import RESTRICTED, Release
from support.prometheus import Prometheus

Figure = Callable[[str], None]
_NAME = "codes"
JOBS = {"signup", "sender", "operator", "broker"}
"""The components of a release whose Kafka nodes are brokers and controllers at once."""
_PICTURES = bool(os.environ.get("MAILTOPIC_PICTURES"))
_GARBAGE = """
import asyncio, os
from mailtopic_client import KafkaClient, KafkaSettings
async def main():
    client = KafkaClient(KafkaSettings(
        bootstrap_servers=tuple(os.environ["MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS"].split(","))))
    for value in (b"{", b'{"email": "nobody", "code": "1234"}', b"\\xff"):
        await client.publish("codes", key=b"k", value=value)
    await client.close()
asyncio.run(main())
"""


@dataclass(frozen=True)
class Watched:
    """A release, its MailTopic, and the Prometheus beside them."""

    mailtopics: MailTopics
    prometheus: Prometheus
    start_s: float

    def garbage(self) -> None:
        """Put three records on the topic that are no mails."""
        pod = self.mailtopics.senders(_NAME)[0]["metadata"]["name"]
        python = ("/app/.venv/bin/python", "-c", _GARBAGE)
        self.mailtopics.cluster.execute(pod, *python, namespace=self.mailtopics.release.namespace)

    def has_data(self, query: PanelQuery) -> bool:
        """Whether a panel shows a number for any time since the start."""
        end_s = time.time()
        expression = filled_in(
            query.expression,
            rate_interval_s=8 * SCRAPE_S,
            range_s=end_s - self.start_s,
            variables={"topic": _NAME},
        )
        if query.is_instant:
            found = self.prometheus.query(expression)
        else:
            found = self.prometheus.query_range(
                expression, start_s=self.start_s, end_s=end_s, step_s=SCRAPE_S
            )
        return any(not math.isnan(value) for each in found for _, value in each.points)


@pytest.fixture(scope="module")
def watched(
    cluster: ClusterClient, images: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """The umbrella with the operator instead of its own senders, and a MailTopic for its signup."""
    del images
    with crds_as_before(cluster), cluster.namespace("monitoring", **RESTRICTED) as namespace:
        release = Release(cluster, namespace)
        Release(cluster, namespace, chart=CRDS, name="mailtopic-crds").run(
            "install", str(CRDS), "--take-ownership"
        )
        release.put(
            "install",
            "--set=sender.enabled=false",
            f"--set=global.mailtopic.topic={_NAME}",
            "--set=operator.reconcile.resyncS=5",
            "--set=monitoring.rules.enabled=true",
            "--set=monitoring.rules.as=ConfigMap",
        )
        mailtopics = MailTopics(release)
        folder = tmp_path_factory.mktemp("prometheus")
        mailtopics.apply_sample()
        mailtopics.wait_until_ready(_NAME)
        with prometheus_beside(release, folder) as prometheus:
            start_s = time.time()
            yield Watched(mailtopics, prometheus, start_s)
        gone = ("--ignore-not-found", "--timeout=90s")
        cluster.kubectl("delete", "namespace", namespace, *gone, timeout_s=120)


def test_every_pod_is_found_by_its_annotations_and_is_up(watched: Watched, figure: Figure) -> None:
    pods = {
        pod["metadata"]["name"]
        for pod in watched.mailtopics.release.pods()
        for component in [pod["metadata"]["labels"].get("app.kubernetes.io/component", "")]
        if component in JOBS
    }
    assert len(pods) == 5, "a signup, two senders, an operator and a Kafka"

    def all_up() -> bool:
        targets = watched.prometheus.targets()
        up = {each["labels"]["pod"] for each in targets if each["health"] == "up"}
        return up == pods and len(targets) == len(pods)

    try:
        watched.mailtopics.cluster.until(all_up, "all pods are up for Prometheus", timeout_s=60)
    except AssertionError as error:
        told = [(each["scrapeUrl"], each["lastError"]) for each in watched.prometheus.targets()]
        raise AssertionError(f"{error}: {told}") from None
    jobs = {each["labels"]["job"] for each in watched.prometheus.targets()}
    assert jobs == JOBS
    figure(f"{len(pods)} targets up")


def test_all_rules_load_and_are_evaluated(watched: Watched, figure: Figure) -> None:
    def are_evaluated() -> bool:
        # Those of long windows are due only every two minutes: "unknown" until then.
        health = [rule["health"] for rule in watched.prometheus.rules()]
        assert "err" not in health
        return health.count("ok") >= len(health) * 3 / 4

    watched.mailtopics.cluster.until(are_evaluated, "the rules are evaluated", timeout_s=60)
    rules = watched.prometheus.rules()
    recording = [rule for rule in rules if rule["type"] == "recording"]
    assert len(recording) >= 30
    assert len(rules) - len(recording) >= 30
    figure(f"{len(recording)} recording rules and {len(rules) - len(recording)} alerts loaded")


@pytest.mark.timeout(900 if _PICTURES else 200, func_only=True)
def test_every_panel_has_data(watched: Watched, figure: Figure) -> None:
    rate = [4.0]
    with People(watched.mailtopics.release, rate_per_s=lambda: rate[0]) as people:
        watched.garbage()
        watched.mailtopics.kubectl("delete", f"pdb/{_NAME}-sender")  # the operator puts it back
        if _PICTURES:
            _let_things_happen(watched, rate)
        watched.mailtopics.cluster.until(lambda: people.verified >= 10, "people verify their codes")
    asked = [query for board in read_dashboards().values() for query in queries(board)]

    def without_data() -> list[str]:
        return [str(query) for query in asked if not watched.has_data(query)]

    deadline_s = time.monotonic() + 60
    watched.mailtopics.cluster.until(
        lambda: not without_data() or time.monotonic() > deadline_s, "data", timeout_s=90
    )
    assert without_data() == []
    figure(f"{len(asked)} queries of panels have data; {people.signed_up} people signed up")
    if _PICTURES:
        _draw(watched)


def _let_things_happen(watched: Watched, rate: list[float]) -> None:
    """A quiet time, a burst, records that are no mails, and a relay that is away."""
    mailtopics = watched.mailtopics
    story: list[tuple[float, Callable[[], object]]] = [
        (20, lambda: rate.__setitem__(0, 14.0)),
        (42, lambda: rate.__setitem__(0, 4.0)),
        (46, watched.garbage),
        (50, lambda: mailtopics.kubectl("scale", "deployment/mailtopic-inbox", "--replicas=0")),
        (62, lambda: mailtopics.kubectl("scale", "deployment/mailtopic-inbox", "--replicas=1")),
        (88, lambda: None),
    ]
    began_s = time.monotonic()
    for at_s, happen in story:
        mailtopics.cluster.until(
            lambda until_s=at_s: time.monotonic() - began_s > until_s,  # type: ignore[misc]
            "the next thing happens",
            timeout_s=at_s + 60,
        )
        happen()


def _draw(watched: Watched) -> None:
    window = Window(watched.start_s, time.time(), SCRAPE_S)
    answers = Answers(watched.prometheus, window, {"topic": _NAME})
    # Playwright's loop is no guest of another one.
    with ThreadPoolExecutor(1) as alone:
        alone.submit(draw, answers, Path(IMAGES)).result()
