"""Write the table of values in each chart's README from the comments of its values.yaml.

    PYTHONPATH=tests .venv/bin/python -m support.chart_readmes

As helm-docs reads them: a comment that begins with ``# --`` describes the key below it, and goes on
in the comment lines that follow. What stands above the table is written by hand and stays.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.helm import CHARTS, charts

BEGIN = "<!-- From values.yaml, by support.chart_readmes: don't edit below. -->"
_MARK = "# -- "
_LONGEST_DEFAULT = 60


@dataclass(frozen=True, slots=True)
class Value:
    """One row: the path of a value, its default as JSON, and what the comment says of it."""

    path: str
    default: str
    text: str


class UndescribedError(Exception):
    """A value has no comment, and none of the levels above it has one; names the value."""


def described_values(text: str) -> list[Value]:
    """Return the values that a values.yaml describes, in its order.

    Raises:
        UndescribedError: a value is described nowhere.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return []
    return list(_walk(root, "", text.splitlines(), is_described=False))


def readme_of(chart: Path) -> str:
    """Return what a chart's README.md should hold: its own text, then the table of values."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text("utf-8"))
    values = described_values((chart / "values.yaml").read_text("utf-8"))
    readme = chart / "README.md"
    text = readme.read_text("utf-8") if readme.exists() else ""
    written = text.split(BEGIN)[0].strip() or f"# {about['name']}\n\n{about['description']}"
    if not values:
        return f"{written}\n"
    return "\n".join([written, "", BEGIN, "", *_table(values), ""])


def _table(values: list[Value]) -> Iterator[str]:
    yield "| value | default | what it is |"
    yield "|---|---|---|"
    for value in values:
        text = value.text.replace("|", "\\|").replace("<", "&lt;")
        yield f"| `{value.path}` | {value.default} | {text} |"


def _walk(
    node: yaml.MappingNode, above: str, lines: list[str], *, is_described: bool
) -> Iterator[Value]:
    for key, child in node.value:
        name = str(key.value)
        path = f"{above}.{name}" if above else name
        text = _comment_above(lines, key.start_mark.line)
        if text is not None:
            yield Value(path, _default(child), text)
        here = is_described or text is not None
        if isinstance(child, yaml.MappingNode) and child.value:
            yield from _walk(child, path, lines, is_described=here)
        elif not here:
            raise UndescribedError(path)


def _comment_above(lines: list[str], number: int) -> str | None:
    indent = len(lines[number]) - len(lines[number].lstrip())
    comment: list[str] = []
    while number > 0 and lines[number - 1].startswith(" " * indent + "#"):
        number -= 1
        line = lines[number].strip()
        if line.startswith(_MARK):
            return " ".join([line.removeprefix(_MARK).strip(), *comment])
        comment.insert(0, line.lstrip("# ").strip())
    return None


def _default(node: yaml.Node) -> str:
    text = json.dumps(_plain(node), ensure_ascii=False)
    return f"`{text}`" if len(text) <= _LONGEST_DEFAULT else "see values.yaml"


def _plain(node: yaml.Node) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def main() -> None:
    """Write every README that is out of date."""
    for name in charts():
        readme, text = CHARTS / name / "README.md", readme_of(CHARTS / name)
        if not readme.exists() or readme.read_text("utf-8") != text:
            readme.write_text(text, "utf-8")
            sys.stdout.write(f"wrote {readme}\n")


if __name__ == "__main__":
    main()
