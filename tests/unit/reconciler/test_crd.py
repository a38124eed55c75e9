"""The CRDs that lie in the repository."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mailtopic_operator.model import crd

ROOT = Path(__file__).parents[3]
PLAIN = sorted((ROOT / "k8s" / "base" / "crds").glob("mail*.yaml"))


def _nodes(node: Any) -> Any:
    yield node
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for each in below:
        yield from _nodes(each)


def test_the_crds_are_what_the_model_says() -> None:
    for path, text in crd.files().items():
        assert (ROOT / path).read_text("utf-8") == text, (
            "run: .venv/bin/python -m mailtopic_operator.model.crd"
        )


def test_generating_twice_gives_the_same() -> None:
    assert crd.files() == crd.files()


def test_check_tells_of_a_file_that_is_not_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert crd.main(["--check"]) == 1
    assert "mailtopics.mailtopic.dev.yaml is not what the model says" in capsys.readouterr().err
    assert crd.main([]) == 0
    assert crd.main(["--check"]) == 0


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.name)
def test_a_schema_is_structural(path: Path) -> None:
    for node in _nodes(yaml.safe_load(path.read_text())):
        if isinstance(node, dict):
            assert not node.keys() & {"$ref", "$defs", "anyOf", "allOf", "title"}
            assert None not in node.values()


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.name)
def test_every_rule_says_what_to_write(path: Path) -> None:
    found = [
        rule["message"]
        for node in _nodes(yaml.safe_load(path.read_text()))
        if isinstance(node, dict)
        for rule in node.get("x-kubernetes-validations", ())
    ]
    assert found
    for message in found:
        assert any(word in message for word in ("write", "leave out", "make another")), message


def test_what_every_text_is_bounded_by_keeps_rules_cheap() -> None:
    (spec,) = [yaml.safe_load(path.read_text()) for path in PLAIN if "mailtopics" in path.name]
    schema = spec["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for node in _nodes(schema):
        if isinstance(node, dict) and "x-kubernetes-validations" in node:
            if node.get("type") == "string":
                assert "maxLength" in node
            if node.get("type") == "array":
                assert "maxItems" in node
