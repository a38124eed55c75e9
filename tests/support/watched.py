"""A Prometheus that watches all of a pipeline's processes, labelled as the charts' pods are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailtopic_observability.rules import groups, scaled
from mailtopic_observability.rules.model import as_yaml
from support.kafka_chart import AgentNode
from support.pipeline import Pipeline
from support.prometheus import Json, Prometheus, running_prometheus, scrape_job

NAMESPACE = "mail"
_MINUTES_TO_SECONDS = 60


def watched_jobs(pipeline: Pipeline, **more: int) -> list[Json]:
    """Return a scrape job for each process, and for more components at ports."""
    jobs = [_job("signup", "signup-0", pipeline.signup_port)]
    for name, port in zip(pipeline.sender_names, pipeline.metrics_ports, strict=True):
        jobs.append(_job("sender", name, port))
    if isinstance(pipeline.kafka, AgentNode):
        jobs.append(_job("kafka", "kafka-0", pipeline.kafka.agent_port))
    return jobs + [_job(component, f"{component}-0", port) for component, port in more.items()]


@contextmanager
def watching(directory: Path, jobs: list[Json]) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes every second and evaluates the rules in quick motion.

    What the rules do within minutes is done within seconds: `mailtopic_observability.rules.scale`.
    """
    rules = directory / "rules.yaml"
    directory.mkdir(parents=True, exist_ok=True)
    rules.write_text(as_yaml(scaled(groups(), by=_MINUTES_TO_SECONDS, least_range_s=5)))
    with running_prometheus(directory, jobs, rule_files=[rules], interval_s=1) as prometheus:
        yield prometheus


def _job(component: str, pod: str, port: int) -> Json:
    labels = {"job": component, "namespace": NAMESPACE, "pod": pod}
    return scrape_job(f"{component}/{pod}", port, labels=labels)
