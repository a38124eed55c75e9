"""What charts render to, for people to read in a review.

MAILTOPIC_UPDATE_GOLDEN=1 writes the files anew.
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.chart_cases import ChartCase, chart_cases
from support.helm import Helm, Manifest

GOLDEN = Path(__file__).parent / "golden"
CASES = [case for case in chart_cases() if case.chart in {"signup", "sender", "inbox", "mailtopic"}]
# The same at every object, and proved by the rules.
NOT_SHOWN = ("helm.sh/chart", "app.kubernetes.io/")
LONGEST = 300


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_chart_renders_what_it_rendered(newest_helm: Helm, case: ChartCase) -> None:
    objects = case.render(newest_helm)
    text = listed(objects) if case.chart == "mailtopic" else shown(objects)
    golden = GOLDEN / f"{case}.{'txt' if case.chart == 'mailtopic' else 'yaml'}"
    if os.environ.get("MAILTOPIC_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, "utf-8")
    assert text == golden.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST


def test_no_golden_file_is_left_over() -> None:
    found = {file.stem for file in GOLDEN.iterdir() if file.suffix in {".yaml", ".txt"}}
    assert found == {str(case) for case in CASES}


def listed(objects: list[Manifest]) -> str:
    """The objects of the umbrella, a line each: their details are the parts' own."""
    lines = [f"{each['kind']} {each['metadata']['name']}{suffix(each)}" for each in objects]
    # A Job's name that ends in a checksum of what Helm makes at random.
    return re.sub(r"-[0-9a-f]{8}$", "-…", "\n".join(sorted(lines)), flags=re.MULTILINE) + "\n"


def suffix(each: Manifest) -> str:
    annotations = each["metadata"].get("annotations", {})
    notes = [
        annotations[key]
        for key in ("helm.sh/hook", "helm.sh/resource-policy")
        if key in annotations
    ]
    replicas = each.get("spec", {}).get("replicas")
    notes += [f"×{replicas}"] if replicas is not None else []
    return f" ({', '.join(notes)})" if notes else ""


def shown(objects: list[Manifest]) -> str:
    ordered = sorted(objects, key=lambda each: (each["kind"], each["metadata"]["name"]))
    documents = [
        yaml.safe_dump(trimmed(each), sort_keys=False, width=120, default_flow_style=None)
        for each in ordered
    ]
    return "---\n".join(documents)


def trimmed(value: Any) -> Any:
    """A part of an object without labels that all have, and without what secrets hold."""
    if isinstance(value, list):
        return [trimmed(item) for item in value]
    if not isinstance(value, dict):
        return value
    is_secret = value.get("kind") == "Secret"
    parts = {}
    for key, below in value.items():
        if is_secret and key in {"data", "stringData"}:
            parts[key] = dict.fromkeys(below, "…")
        elif not key.startswith(NOT_SHOWN):
            part = trimmed(below)
            if part or part in (0, False) or not below:
                parts[key] = part
    return parts
