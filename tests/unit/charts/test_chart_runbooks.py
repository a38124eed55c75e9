"""What runbooks say to type names objects that the chart makes for a release `mailtopic`."""

import re
from typing import Any

from support.helm import ROOT, Helm

PAGES = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
TEXT = "\n".join(page.read_text() for page in PAGES)
OF_THE_OPERATOR = {"deployment/mails-sender"}
"""Made by the operator, for a MailTopic `mails`."""


def objects(helm: Helm) -> list[dict[str, Any]]:
    return helm.template("mailtopic", {"kafka.networkPolicy.enabled": True})


def labels(helm: Helm) -> set[str]:
    found = set()
    for each in objects(helm):
        pod = each.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})
        found |= {f"{key}={value}" for key, value in pod.items()}
    return found


def test_names_of_objects(newest_helm: Helm) -> None:
    made = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in objects(newest_helm)}
    named = set(re.findall(r"\b((?:deployment|statefulset|service)/[a-z][a-z-]*[a-z])\b", TEXT))
    assert named
    assert named - OF_THE_OPERATOR <= made
    for kind, name in (
        ("persistentvolumeclaim", "mailtopic-signup-data"),
        ("secret", "mailtopic-sealing-keys"),
        ("service", "mailtopic-kafka"),
    ):
        assert name in TEXT
        assert f"{kind}/{name}" in made


def test_selectors_of_pods(newest_helm: Helm) -> None:
    selected = set(re.findall(r" -l ([a-z./-]+=[a-z]+)", TEXT))
    assert len(selected) > 3
    assert selected - {"mailtopic.dev/mailtopic=mails"} <= labels(newest_helm)


def test_the_label_that_lets_a_pod_reach_kafka(newest_helm: Helm) -> None:
    (label,) = set(re.findall(r"--labels=(\S+)", TEXT))
    policies = [each for each in objects(newest_helm) if each["kind"] == "NetworkPolicy"]
    key, _, value = label.partition("=")
    assert f"'{key}': '{value}'" in str([each["spec"].get("ingress") for each in policies])
