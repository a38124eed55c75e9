"""The Prometheus that tests ask really scrapes, evaluates rules and says what is wrong."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, start_http_server

from support.conditions import until
from support.ports import free_port
from support.prometheus import Prometheus, PrometheusError, running_prometheus, scrape_job

RULES = """
groups:
  - name: mails
    rules:
      - {record: "topic:mails:total", expr: "sum by (topic) (mails_total)"}
      - {alert: MailsSeen, expr: "mails_total > 2", labels: {severity: ticket}}
"""


@pytest.fixture
def port() -> Iterator[int]:
    """A target that has counted three mails."""
    registry = CollectorRegistry()
    counter = Counter("mails", "Mails.", ("topic",), registry=registry)
    counter.labels("mails").inc(3)
    server, thread = start_http_server(port := free_port(), "127.0.0.1", registry)
    yield port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def prometheus(tmp_path: Path, port: int) -> Iterator[Prometheus]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    jobs = [scrape_job("mails", port, labels={"pod": "sender-0"})]
    with running_prometheus(tmp_path, jobs, rule_files=[rules], interval_s=0.2) as found:
        yield found


async def test_it_scrapes_its_targets_and_evaluates_its_rules(prometheus: Prometheus) -> None:
    start_s = time.time()
    await until(prometheus.targets_up, "the target is up")
    await until(lambda: prometheus.value("topic:mails:total") == 3, "the rule is evaluated")
    await until(lambda: prometheus.firing() == {"MailsSeen"}, "the alert fires")
    assert {rule["name"]: rule["health"] for rule in prometheus.rules()} == {
        "topic:mails:total": "ok",
        "MailsSeen": "ok",
    }
    (series,) = prometheus.query('mails_total{pod="sender-0"}')
    assert (series.labels["job"], series.labels["topic"], series.value) == ("mails", "mails", 3)
    (drawn,) = prometheus.query_range("mails_total", start_s=start_s, end_s=time.time(), step_s=0.1)
    assert {value for _, value in drawn.points} == {3}
    assert prometheus.query("vector(1) > 2") == []
    assert prometheus.value("scalar(vector(2))") == 2


async def test_wrong_queries_and_wrong_rules_raise(prometheus: Prometheus) -> None:
    with pytest.raises(PrometheusError, match="sum by"):
        prometheus.query("sum by (")
    (prometheus.config_file.parent / "rules.yaml").write_text("groups: [{}]")
    with pytest.raises(PrometheusError, match="load"):
        prometheus.reload()


def test_a_wrong_configuration_ends_it_at_once(tmp_path: Path) -> None:
    with (
        pytest.raises(PrometheusError, match="ended with"),
        running_prometheus(tmp_path, [{"job_name": "a", "no_such_setting": 1}]),
    ):
        pass
