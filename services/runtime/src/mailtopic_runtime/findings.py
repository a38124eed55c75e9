"""The findings of a check, step by step: as lines for people and as JSON for scripts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FindingState(StrEnum):
    """What a finding means for the check."""

    OK = "ok"
    WARNING = "warning"
    """Worth a look; mails can be sent."""
    FAILED = "failed"
    """Must be fixed; the check's exit code is 1."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One step of a check.

    Attributes:
        about: what was checked, such as a relay; findings about the same thing stand together.
        step: the step's name, the same in every run.
        state: how it went.
        text: what was seen, in one line.
        advice: what to do about it, in one line; empty if there is nothing to do.
    """

    about: str
    step: str
    state: FindingState
    text: str
    advice: str = ""

    def document(self) -> dict[str, str]:
        """Return it as a JSON object."""
        return {
            "about": self.about,
            "step": self.step,
            "state": self.state.value,
            "text": self.text,
            "advice": self.advice,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Finding":
        """Return the finding that `document` was made from.

        Raises:
            KeyError: a field is missing.
            ValueError: there is no such state.
        """
        return cls(
            about=document["about"],
            step=document["step"],
            state=FindingState(document["state"]),
            text=document["text"],
            advice=document["advice"],
        )


class FindingPrinter:
    """Writes findings as lines: a heading where `about` changes, and an arrow before advice."""

    def __init__(self, write: Callable[[str], None]) -> None:
        """Take a function that writes one line, given without its line break."""
        self._write = write
        self._about: str | None = None

    def print(self, finding: Finding) -> None:
        """Write one finding."""
        if finding.about != self._about:
            self._write(finding.about if self._about is None else f"\n{finding.about}")
            self._about = finding.about
        self._write(f"  {finding.state.value:<8} {finding.step:<11} {finding.text}".rstrip())
        if finding.advice:
            self._write(f"  {'':<8} {'':<11} → {finding.advice}")
