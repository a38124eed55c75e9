"""Every metric of the members, of Kafka's pods and of the libraries, as declared in code."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mailtopic_observability import shown_metrics
from mailtopic_observability.shown_metrics import Shape
from mailtopic_operator import metric_families as operator_families
from mailtopic_runtime import BUILD_INFO, Family, Label
from mailtopic_sender import metric_families as sender_families
from mailtopic_signup import metrics as signup_metrics

KAFKA: Final = "kafka"
MEMBERS: Final = {
    "sender": sender_families.FAMILIES,
    "signup": signup_metrics.FAMILIES,
    "operator": operator_families.FAMILIES,
}
"""The metrics of each member; its scrape job has the member's name."""

_UNITS: Final = {
    "_per_s": "1/s",
    "_timestamp_seconds": "s since 1970",
    "_time_seconds": "s since 1970",
    "_seconds_total": "s",
    "_seconds": "s",
    "_bytes": "bytes",
    "_offsets": "offsets",
    "_records": "records",
    "_info": "1",
    "_open": "0 or 1",
    "_is_leader": "0 or 1",
    "_totaltimems": "ms",
    "_percent": "share, 0 to 1",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, with what readers of the guide need.

    Attributes:
        members: the processes that expose it: names of MEMBERS, or KAFKA.
        samples: the names of the series that Prometheus stores.
        use: what it is useful for; empty for metrics of libraries and of Kafka.
    """

    name: str
    kind: str
    help: str
    members: tuple[str, ...]
    samples: tuple[str, ...]
    labels: tuple[Label, ...] = ()
    use: str = ""

    @property
    def unit(self) -> str:
        """The unit in the name's suffix; counts have none."""
        return next((unit for end, unit in _UNITS.items() if self.name.endswith(end)), "")

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of its labels; scraping adds namespace, pod and job."""
        return tuple(label.name for label in self.labels)


def _of_members() -> Iterator[Metric]:
    for member, families in MEMBERS.items():
        for family in families:
            yield _declared(family, (member,))
    yield _declared(BUILD_INFO, tuple(MEMBERS))


def _declared(family: Family, members: tuple[str, ...]) -> Metric:
    return Metric(
        name=family.name,
        kind=family.kind,
        help=family.help,
        members=members,
        samples=family.samples,
        labels=family.labels,
        use=family.use,
    )


def _shown(shapes: Shape, members: tuple[str, ...]) -> Iterator[Metric]:
    for shape in shapes:
        yield Metric(
            name=shape["name"],
            kind=shape["kind"],
            help=shape["help"],
            members=members,
            samples=tuple(shape["samples"]),
            labels=tuple(Label(name) for name in shape["labels"]),
        )


OURS: Final = tuple(_of_members())
LIBRARIES: Final = tuple(_shown(shown_metrics.LIBRARIES.shape, tuple(MEMBERS)))
KAFKAS: Final = tuple(_shown(shown_metrics.KAFKA.shape, (KAFKA,)))
METRICS: Final = (*OURS, *LIBRARIES, *KAFKAS)
"""All metrics. Kafka's pods expose some with the same names as the libraries."""

SAMPLES: Final = frozenset(sample for metric in METRICS for sample in metric.samples)
"""Every name that a query may use, without those of recording rules."""
