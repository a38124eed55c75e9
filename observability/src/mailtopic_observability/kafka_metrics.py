"""What the agent in Kafka's pods shows, kept as a broker showed it.

`kafka_metrics.json` is checked against a real broker by tests/integration/test_kafka_chart_agent.py
and written by it with MAILTOPIC_UPDATE_GOLDEN=1.
"""

import json
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

FILE: Final = Path(__file__).with_name("kafka_metrics.json")

_BY_TOPIC: Final = "kafka_server_brokertopicmetrics_"
"""Metrics that have a series for each topic as soon as that topic has something to count."""

Shape = list[dict[str, Any]]
"""Each metric's name, kind, help and label names, by name."""


def shape_of(exposition: str) -> Shape:
    """Return what an exposition in Prometheus' text format has, without values."""
    shapes = []
    for family in text_string_to_metric_families(exposition):
        labels = {name for sample in family.samples for name in sample.labels}
        if family.name.startswith(_BY_TOPIC):
            labels.add("topic")
        # The parser takes _total off a counter's name; on /metrics it is there.
        name = f"{family.name}_total" if family.type == "counter" else family.name
        shapes.append(
            {
                "name": name,
                "kind": family.type,
                "help": family.documentation,
                "labels": sorted(labels),
                "samples": sorted({sample.name for sample in family.samples}) or [name],
            }
        )
    return sorted(shapes, key=lambda shape: str(shape["name"]))


def kept() -> Shape:
    """Return what a broker showed."""
    shapes: Shape = json.loads(FILE.read_text(encoding="utf-8"))
    return shapes


def keep(shape: Shape) -> None:
    """Write it down anew."""
    FILE.write_text(json.dumps(shape, indent=2) + "\n", encoding="utf-8")
