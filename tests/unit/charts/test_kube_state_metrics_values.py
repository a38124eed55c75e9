"""The configuration for kube-state-metrics reads fields that the CRDs have."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from mailtopic_operator.model.crd import mailreplay_crd, mailtopic_crd
from support.helm import CHARTS

VALUES = yaml.safe_load((CHARTS / "mailtopic/files/kube-state-metrics.yaml").read_text("utf-8"))
RESOURCES = {
    resource["groupVersionKind"]["kind"]: resource
    for resource in VALUES["customResourceState"]["config"]["spec"]["resources"]
}
CRDS = {"MailTopic": mailtopic_crd(), "MailReplay": mailreplay_crd()}


def schema_at(kind: str, path: list[str]) -> dict[str, Any]:
    schema = CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for part in path:
        schema = schema["properties"][part]
    return dict(schema)


def paths(resource: dict[str, Any]) -> Iterator[tuple[list[str], str]]:
    yield from ((path, "string") for path in resource["labelsFromPath"].values())
    for metric in resource["metrics"]:
        (each,) = (value for key, value in metric["each"].items() if key != "type")
        if metric["each"]["type"] == "Gauge":
            yield each["path"], "integer"
        elif "path" in each:
            yield each["path"], "array"
        else:
            yield from ((path, "string") for path in each["labelsFromPath"].values())


@pytest.mark.parametrize("kind", CRDS)
def test_every_path_is_a_field_of_the_kind_it_is_read_as(kind: str) -> None:
    for path, wanted in paths(RESOURCES[kind]):
        if path[0] != "metadata":
            assert schema_at(kind, path)["type"] == wanted, path


@pytest.mark.parametrize("kind", CRDS)
def test_conditions_are_told_by_fields_that_they_have(kind: str) -> None:
    conditions = next(m for m in RESOURCES[kind]["metrics"] if m["name"] == "condition")
    fields = schema_at(kind, ["status", "conditions"])["items"]["properties"]
    labels = conditions["each"]["info"]["labelsFromPath"]
    assert [path for path in labels.values() if path[0] not in fields] == []


def test_the_rules_let_it_list_and_watch_what_it_shows() -> None:
    (rule,) = VALUES["rbac"]["extraRules"]
    plurals = {crd["spec"]["names"]["plural"] for crd in CRDS.values()}
    assert (set(rule["resources"]), rule["verbs"]) == (plurals, ["list", "watch"])
    assert rule["apiGroups"] == ["mailtopic.dev"]
