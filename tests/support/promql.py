"""Which metrics and labels an expression of PromQL names; enough of its grammar for our rules."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>\d+(?:\.\d+)?(?:ms|[smhdwy])?)
    |(?P<name>[A-Za-z_:][\w:]*)
    |(?P<operator>=~|!~|!=|==|>=|<=|[-+*/%^=<>(){}\[\],])
    |(?P<space>\s+)""",
    re.VERBOSE,
)
_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "bool", "offset"}


@dataclass(frozen=True, slots=True)
class Named:
    """What an expression names.

    Attributes:
        selectors: each metric, with the labels that its matchers name and their patterns.
        lists: labels that are grouped by or matched on.
    """

    selectors: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]
    lists: frozenset[str]

    @property
    def metrics(self) -> frozenset[str]:
        return frozenset(metric for metric, _ in self.selectors)


def named(expression: str) -> Named:
    """Return what an expression names.

    Raises:
        ValueError: something in it is no token of PromQL.
    """
    tokens = list(_tokens(expression))
    selectors, lists = [], set()
    at = 0
    while at < len(tokens):
        token, kind = tokens[at]
        following = tokens[at + 1][0] if at + 1 < len(tokens) else ""
        at += 1
        if kind != "name" or token in _WORDS:
            continue
        if token in _LISTS:
            end = _closing(tokens, at, ")")
            lists |= {word for word, kind in tokens[at:end] if kind == "name"}
            at = end
        elif following == "{":
            end = _closing(tokens, at, "}")
            selectors.append((token, _matchers(tokens[at + 1 : end])))
            at = end
        elif following != "(" and following not in _LISTS:
            selectors.append((token, ()))
    return Named(tuple(selectors), frozenset(lists))


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(expression):
        found = _TOKEN.match(expression, at)
        if found is None or found.lastgroup is None:
            raise ValueError(f"no PromQL from here: {expression[at : at + 30]}")
        at = found.end()
        if found.lastgroup != "space":
            yield found[0], found.lastgroup


def _closing(tokens: list[tuple[str, str]], at: int, bracket: str) -> int:
    return next(i for i in range(at, len(tokens)) if tokens[i][0] == bracket)


def _matchers(tokens: list[tuple[str, str]]) -> tuple[tuple[str, str, str], ...]:
    words = [token for token, _ in tokens if token != ","]
    return tuple(
        (words[i], words[i + 1], words[i + 2].strip("\"'")) for i in range(0, len(words), 3)
    )
