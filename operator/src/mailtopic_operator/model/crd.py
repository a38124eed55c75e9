"""Generates the CRDs: `python -m mailtopic_operator.model.crd [--check]` in a clone.

They are written into the chart mailtopic-crds and into k8s/base/crds: the CRDs that the operator
reconciles. With --check nothing is written; the exit code is 1 if something would be.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel

from mailtopic_operator.model.base import GROUP, VERSION
from mailtopic_operator.model.mailreplay import MailReplay
from mailtopic_operator.model.mailtopic import MailTopic
from mailtopic_operator.model.structural import structural

_CHART: Final = Path("charts/mailtopic-crds/templates")
_PLAIN: Final = Path("k8s/base/crds")
_METADATA: Final = """\
  labels:
    {{- include "common.labels" (dict "context" $ "component" "crds") | nindent 4 }}
  {{- if .Values.crds.keep }}
  annotations:
    # Deleting a CRD deletes every resource of its kind.
    helm.sh/resource-policy: keep
  {{- end }}
"""


def _column(name: str, path: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path, **more}


def _condition(kind: str, part: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{part}'


_AGE = _column("Age", ".metadata.creationTimestamp", "date")
_MAILTOPIC_COLUMNS = [
    _column("Topic", ".status.topic.name"),
    _column("Partitions", ".status.topic.partitions", "integer"),
    _column("Senders", ".status.consumers.ready"),
    _column("Lag", ".status.lag.records", "integer"),
    _column("DLQ", ".status.deadLetter.records", "integer"),
    _column("Ready", _condition("Ready", "status")),
    _column("Reason", _condition("Ready", "reason")),
    _AGE,
    _column("Message", _condition("Ready", "message"), priority=1),
    _column("Relays", _condition("RelayHealthy", "message"), priority=1),
]
_MAILREPLAY_COLUMNS = [
    _column("MailTopic", ".spec.mailTopicRef.name"),
    _column("Matched", ".status.progress.matched", "integer"),
    _column("Replayed", ".status.progress.replayed", "integer"),
    _column("Skipped", ".status.progress.skipped", "integer"),
    _column("Complete", _condition("Complete", "status")),
    _column("Reason", _condition("Complete", "reason")),
    _AGE,
]
_SCALE = {
    "specReplicasPath": ".spec.consumers.replicas",
    "statusReplicasPath": ".status.consumers.replicas",
    "labelSelectorPath": ".status.consumers.selector",
}


def mailtopic_crd() -> dict[str, Any]:
    """Return the CRD of MailTopic."""
    subresources = {"status": {}, "scale": _SCALE}
    return _crd(MailTopic, "mt", _MAILTOPIC_COLUMNS, subresources)


def mailreplay_crd() -> dict[str, Any]:
    """Return the CRD of MailReplay."""
    return _crd(MailReplay, "mr", _MAILREPLAY_COLUMNS, {"status": {}})


def _crd(
    model: type[MailTopic | MailReplay],
    short_name: str,
    columns: list[dict[str, Any]],
    subresources: dict[str, Any],
) -> dict[str, Any]:
    names = {
        "kind": model.kind,
        "listKind": f"{model.kind}List",
        "plural": model.plural,
        "singular": model.kind.lower(),
        "shortNames": [short_name],
        "categories": ["mail"],
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": subresources,
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": _schema(model)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{model.plural}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    whole = structural(model)
    status = structural(model.model_fields["status"].annotation, defaults=False)  # type: ignore[arg-type]
    whole["required"] = ["spec"]
    whole["properties"] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": whole["properties"]["spec"],
        "status": status | {"description": whole["properties"]["status"]["description"]},
    }
    return whole


def _text(crd: Mapping[str, Any]) -> str:
    text: str = yaml.dump(dict(crd), Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    return text


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def files() -> dict[Path, str]:
    """Return every generated file, by its path in the repository."""
    made: dict[Path, str] = {}
    for crd in (mailtopic_crd(), mailreplay_crd()):
        text = "# Generated: python -m mailtopic_operator.model.crd\n" + _text(crd)
        name = f"{crd['metadata']['name']}.yaml"
        made[_PLAIN / name] = text
        made[_CHART / name] = text.replace("metadata:\n", f"metadata:\n{_METADATA}", 1)
    return made


def main(arguments: list[str]) -> int:
    """Write the files below the current directory, or only compare them."""
    stale = [
        path
        for path, text in files().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        sys.stderr.write(f"{path} is not what the model says\n")
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files()[path], encoding="utf-8")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
