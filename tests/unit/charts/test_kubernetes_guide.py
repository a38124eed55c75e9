"""What docs/guides/kubernetes.md says is so."""

import re

import pytest
import yaml

from support.helm import ROOT, Helm

GUIDE = (ROOT / "docs" / "guides" / "kubernetes.md").read_text("utf-8")
VALUES = re.findall(r"^```yaml\n(.+?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
TITLES = re.findall(r"^#+ (.+)\n(?:(?!^#).*\n)*?^```yaml$", GUIDE, re.MULTILINE)


@pytest.mark.parametrize("values", VALUES, ids=TITLES)
def test_the_chart_takes_the_values_of_the_guide(values: str, newest_helm: Helm) -> None:
    assert newest_helm.template("mailtopic", yaml.safe_load(values))


def test_every_page_that_the_guide_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", GUIDE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / "guides" / link).exists()] == []


def test_everything_kept_by_helm_is_in_the_guides_table(newest_helm: Helm) -> None:
    objects = newest_helm.template("mailtopic")
    kept = {
        each["metadata"]["name"]
        for each in objects
        if each["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert kept == {name for name in kept if f"`{name}`" in GUIDE}
    assert len(kept) == 4
