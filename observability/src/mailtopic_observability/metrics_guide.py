"""docs/guides/metrics.md, written from the catalogue."""

from collections.abc import Iterable, Iterator
from typing import Final

from mailtopic_observability.catalogue import KAFKAS, LIBRARIES, MEMBERS, OURS, Metric
from mailtopic_observability.generate import RENEW, Files, Generator
from mailtopic_runtime import BUILD_INFO, Family, Kind, Label

PATH: Final = "docs/guides/metrics.md"

_HEAD: Final = f"""\
<!-- Written by `{RENEW}` from the code: change metrics there. -->

# Metrics

Every process answers `/metrics`: the sender and the operator on port 9100, signup on 8080,
Kafka's pods on 9404. How Prometheus finds them: [observability.md](observability.md).

- Scraping adds the labels `namespace`, `pod` and `job`; the job is the component: sender, signup,
  operator, and for Kafka broker or controller.
- One sender process serves one MailTopic; `topic` is its main topic. Only lag, watermark age and
  window have the topic that is consumed, so that retry topics show as well.
- No address, code, message id or reply text is ever a label. What comes from outside is counted
  under a closed set of values, `other` among them: records, requests and replies can't add series.
  A test throws thousands of hostile ones at the services and counts.
- Series with known labels exist from the start, at 0: `increase()` sees the first event.
- What they cost: about 3 µs of CPU time for a mail (`PYTHONPATH=tests python -m benchmarks.hot_path
  --part metrics`); a scrape takes some milliseconds and 15 kB.
- The state of single MailTopics and MailReplays comes from kube-state-metrics: the values in
  `charts/mailtopic/files/kube-state-metrics.yaml` make it show `mailtopic_resource_*` and
  `mailtopic_replay_*`. Without it `mailtopic_operator_mailtopics` counts them.
"""

_MEMBERS: Final = {
    "sender": "A sender, port 9100",
    "signup": "Signup, port 8080",
    "operator": "The operator, port 9100",
}


def _text() -> str:
    parts = [_HEAD]
    for member, title in _MEMBERS.items():
        metrics = [metric for metric in OURS if metric.members == (member,)]
        parts.append(f"## {title}\n\n" + "\n".join(_table(metrics)) + "\n")
        parts.extend(_buckets(MEMBERS[member]))
    parts.append(
        "## All of the three\n\n"
        + "\n".join(_table([metric for metric in OURS if metric.name == BUILD_INFO.name]))
        + "\n\nFrom the Prometheus client for Python:\n\n"
        + "\n".join(_short(LIBRARIES))
        + "\n"
    )
    parts.append(
        "## Kafka's pods, port 9404\n\n"
        "From the agent of `charts/kafka`, under the names that the usual rules of Prometheus'\n"
        "JMX exporter give, so that known dashboards work. That is why some don't follow\n"
        "Prometheus' rules for names.\n\n" + "\n".join(_short(KAFKAS)) + "\n"
    )
    return "\n".join(parts)


def _table(metrics: Iterable[Metric]) -> Iterator[str]:
    yield "| metric | type | unit | labels | what it is | look at it for |"
    yield "|---|---|---|---|---|---|"
    for metric in metrics:
        labels = "; ".join(_label(label) for label in metric.labels)
        cells = (f"`{metric.name}`", metric.kind, metric.unit, labels, metric.help, metric.use)
        yield "| " + " | ".join(cells) + " |"


def _label(label: Label) -> str:
    values = ", ".join(f"`{value}`" for value in label.values)
    return f"`{label.name}`: {values or label.words}"


def _short(metrics: Iterable[Metric]) -> Iterator[str]:
    yield "| metric | type | unit | labels | what it is |"
    yield "|---|---|---|---|---|"
    for metric in metrics:
        labels = ", ".join(f"`{name}`" for name in metric.label_names)
        cells = (f"`{metric.name}`", metric.kind, metric.unit, labels, metric.help)
        yield "| " + " | ".join(cells) + " |"


def _buckets(families: Iterable[Family]) -> Iterator[str]:
    lines = [
        f"- `{family.name}`: {', '.join(f'{bound:g}' for bound in family.buckets)}"
        for family in families
        if family.kind is Kind.HISTOGRAM
    ]
    if lines:
        yield "Bounds of the histograms' buckets:\n\n" + "\n".join(lines) + "\n"


def _files() -> Files:
    return {PATH: _text()}


GENERATOR: Final = Generator("metrics guide", owns=(PATH,), files=_files)
