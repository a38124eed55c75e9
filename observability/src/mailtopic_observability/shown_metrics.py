"""Metrics that the code here doesn't declare, as they were shown in Prometheus' text format.

Tests hold what is kept against what is shown now, and with MAILTOPIC_UPDATE_GOLDEN=1 keep that.
"""

import json
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

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


class Kept:
    """What was shown once, so that it can be listed without a broker and on every system."""

    def __init__(self, file_name: str) -> None:
        self._file = Path(__file__).with_name(file_name)

    @property
    def shape(self) -> Shape:
        """What is kept."""
        shapes: Shape = json.loads(self._file.read_text(encoding="utf-8"))
        return shapes

    def keep(self, shape: Shape) -> None:
        """Rewrite the file."""
        self._file.write_text(json.dumps(shape, indent=2) + "\n", encoding="utf-8")


KAFKA: Final = Kept("kafka_metrics.json")
"""Of the agent in Kafka's pods; tests/integration/test_kafka_chart_agent.py asks a real broker."""

LIBRARIES: Final = Kept("library_metrics.json")
"""Of prometheus-client on Linux: of the process, and of the interpreter."""
