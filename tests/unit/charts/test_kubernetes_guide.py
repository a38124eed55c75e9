"""What docs/guides/kubernetes.md says is so."""

import re

import pytest
import yaml

from support.helm import ROOT, Helm, find

GUIDES = ROOT / "docs" / "guides"
GUIDE = (GUIDES / "kubernetes.md").read_text("utf-8")
SEND_API = (GUIDES / "send-api.md").read_text("utf-8")
VALUES = re.findall(r"^```yaml\n(.+?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
TITLES = re.findall(r"^#+ (.+)\n(?:(?!^#).*\n)*?^```yaml$", GUIDE, re.MULTILINE)


@pytest.mark.parametrize("values", VALUES, ids=TITLES)
def test_the_chart_takes_the_values_of_the_guide(values: str, newest_helm: Helm) -> None:
    assert newest_helm.template("mailtopic", yaml.safe_load(values))


def test_the_acls_of_the_guide_to_the_send_api_are_those_of_each_topic(newest_helm: Helm) -> None:
    (values,) = re.findall(r"^```yaml\n(.+?)^```$", SEND_API, re.DOTALL | re.MULTILINE)
    with_acls = {**yaml.safe_load(values)["kafka"]}
    objects = newest_helm.template("kafka", {"securityProtocol": "SASL_SSL", **with_acls})
    rules = find(objects, "ConfigMap", "mailtopic-kafka-access")["data"]["rules.txt"]
    ours = [line for line in rules.splitlines() if line.startswith("allow signup")]
    own = [line for line in ours if " mails" in line]
    assert [line.replace("mails", "receipts") for line in own] == ours[len(own) :]
    default = newest_helm.template("kafka", {"securityProtocol": "SASL_SSL"})
    found = find(default, "ConfigMap", "mailtopic-kafka-access")["data"]["rules.txt"]
    assert own == [line for line in found.splitlines() if line.startswith("allow signup")]


def test_every_page_that_the_guide_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", GUIDE + SEND_API)
    assert links
    assert [link for link in links if not (GUIDES / link).exists()] == []


def test_everything_kept_by_helm_is_in_the_guides_table(newest_helm: Helm) -> None:
    objects = newest_helm.template("mailtopic")
    kept = {
        each["metadata"]["name"]
        for each in objects
        if each["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert kept == {name for name in kept if f"`{name}`" in GUIDE}
    assert len(kept) == 4
