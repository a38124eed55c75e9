"""The tests that the security pages name exist, and each line of the threat model names one."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/security").glob("*.md"))
_NAMED = re.compile(r"`(test_\w+)`")


def existing_tests() -> set[str]:
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.fixture(scope="module")
def tests() -> set[str]:
    return existing_tests()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_named_test_exists(page: Path, tests: set[str]) -> None:
    assert set(_NAMED.findall(page.read_text("utf-8"))) - tests == set()


def test_each_line_of_the_threat_model_names_a_test_or_says_that_it_has_none() -> None:
    text = (ROOT / "docs/security/threat-model.md").read_text("utf-8")
    claims, tested = 0, False
    for line in text.splitlines():
        if not line.startswith("|"):
            tested = False
        elif line.endswith("| test |"):
            tested = True
        elif tested and not line.startswith("|---"):
            claims += 1
            assert re.search(r"`test_\w+`|none|no test|the same", line.rsplit("|", 2)[1]), line
    assert claims > 30
