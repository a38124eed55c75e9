"""Dashboards are shipped as Grafana's sidecar wants them."""

import json
from typing import Any

from support.helm import CHARTS, Helm, Manifest

FILES = sorted((CHARTS / "mailtopic" / "files" / "dashboards").glob("*.json"))
# The limit of a ConfigMap, and of an annotation that kubectl apply would keep it in.
MOST_BYTES = 262_144


def shipped(helm: Helm, values: dict[str, Any] | None = None) -> dict[str, Manifest]:
    objects = helm.template("mailtopic", values)
    found = {each["metadata"]["name"]: each for each in objects if each["kind"] == "ConfigMap"}
    return {name: each for name, each in found.items() if "-dashboard-" in name}


def test_every_dashboard_is_a_configmap_with_the_label_and_a_json_key(newest_helm: Helm) -> None:
    found = shipped(newest_helm)
    assert set(found) == {f"mailtopic-dashboard-{file.stem}" for file in FILES}
    for file in FILES:
        configmap = found[f"mailtopic-dashboard-{file.stem}"]
        assert configmap["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert configmap["metadata"]["namespace"] == "mail"
        ((key, text),) = configmap["data"].items()
        assert key == f"mailtopic-{file.stem}.json"
        assert json.loads(text) == json.loads(file.read_text())
        assert len(text.encode()) < MOST_BYTES


def test_labels_annotations_and_namespace_are_yours(newest_helm: Helm) -> None:
    values = {
        "monitoring.dashboards": {
            "labels": {"dashboards": "mail"},
            "annotations": {"folder": "Mail"},
            "namespace": "monitoring",
        }
    }
    for configmap in shipped(newest_helm, values).values():
        metadata = configmap["metadata"]
        assert metadata["labels"]["dashboards"] == "mail"
        assert metadata["annotations"] == {"folder": "Mail"}
        assert metadata["namespace"] == "monitoring"


def test_a_dashboard_of_a_component_comes_and_goes_with_it(newest_helm: Helm) -> None:
    values = {"operator.enabled": False, "signup.enabled": False}
    names = {name.rpartition("-")[2] for name in shipped(newest_helm, values)}
    assert names == {"overview", "topic", "relay", "kafka"}
    assert shipped(newest_helm, {"monitoring.dashboards.enabled": False}) == {}


def test_links_to_runbooks_lead_to_your_copy(newest_helm: Helm) -> None:
    values = {"monitoring.runbooksUrl": "https://wiki.example.com/runbooks/"}
    text = json.dumps(shipped(newest_helm, values))
    assert "https://wiki.example.com/runbooks/MailTopic" in text
    assert "mailtopic.dev/docs/runbooks" not in text
