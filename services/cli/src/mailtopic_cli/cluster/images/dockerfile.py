"""Parses Dockerfiles as far as the builders and the tests need it."""

import re
from dataclasses import dataclass
from pathlib import Path

_COMMENT = re.compile(r"\s*#")
_OPTION = re.compile(r"--[a-z]+(=\S+)?$")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continued lines joined: `COPY`, `pyproject.toml uv.lock ./`."""

    keyword: str
    arguments: str

    @property
    def options(self) -> list[str]:
        """The leading `--name=value` words."""
        words = self.arguments.split()
        count = next((i for i, word in enumerate(words) if not _OPTION.match(word)), len(words))
        return words[:count]

    @property
    def words(self) -> list[str]:
        """The words behind the options."""
        return self.arguments.split()[len(self.options) :]


def read_dockerfile(path: Path) -> list[Instruction]:
    """The instructions in their order. Comments are left out, also between continued lines."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not _COMMENT.match(line)]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found = []
    for line in joined.splitlines():
        keyword, _, arguments = line.strip().partition(" ")
        if keyword:
            found.append(Instruction(keyword.upper(), " ".join(arguments.split())))
    return found


def context_sources(instructions: list[Instruction]) -> list[str]:
    """The paths of the build context that COPY takes, each once, sorted."""
    found: set[str] = set()
    for instruction in instructions:
        is_local = not any(option.startswith("--from") for option in instruction.options)
        if instruction.keyword in {"COPY", "ADD"} and is_local:
            found.update(instruction.words[:-1])
    return sorted(found)
