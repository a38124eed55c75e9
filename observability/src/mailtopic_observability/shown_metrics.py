"""Metrics that aren't declared in this code, as exposed in Prometheus' text format.

Tests compare the stored shape with the current one; MAILTOPIC_UPDATE_GOLDEN=1 updates it.
"""

import json
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

_BY_TOPIC: Final = "kafka_server_brokertopicmetrics_"
"""Metrics with a series for each topic, from when that topic has something to count."""

Shape = list[dict[str, Any]]
"""Each metric's name, kind, help and label names, by name."""


def shape_of(exposition: str) -> Shape:
    """Return the shape of an exposition in Prometheus' text format, without values."""
    shapes = []
    for family in text_string_to_metric_families(exposition):
        labels = {name for sample in family.samples for name in sample.labels}
        if family.name.startswith(_BY_TOPIC):
            labels.add("topic")
        # The parser strips _total from a counter's name; /metrics has it.
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


class Kept:
    """A stored shape, so that it can be listed without a broker and on every system."""

    def __init__(self, file_name: str) -> None:
        self._file = Path(__file__).with_name(file_name)

    @property
    def shape(self) -> Shape:
        """The stored shape."""
        shapes: Shape = json.loads(self._file.read_text(encoding="utf-8"))
        return shapes

    def keep(self, shape: Shape) -> None:
        """Store this shape."""
        self._file.write_text(json.dumps(shape, indent=2) + "\n", encoding="utf-8")


KAFKA: Final = Kept("kafka_metrics.json")
"""The agent in Kafka's pods; tests/integration/test_kafka_chart_agent.py asks a real broker."""

LIBRARIES: Final = Kept("library_metrics.json")
"""prometheus-client on Linux: the process and the interpreter."""
