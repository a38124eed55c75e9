"""A finding about one aspect of a MailTopic, from which a condition is made."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about one aspect.

    Attributes:
        reason: one word, CamelCase.
        message: for people; says what to do if anything is needed.
        is_stalled: only a person can fix it.
        is_progressing: it will resolve without help.
    """

    status: Truth
    reason: str
    message: str
    is_stalled: bool = False
    is_progressing: bool = False


def good(reason: str, message: str) -> Finding:
    """Return a finding that all is well."""
    return Finding("True", reason, message)


def pending(reason: str, message: str) -> Finding:
    """Return a finding that something is not ready yet, but in progress."""
    return Finding("False", reason, message, is_progressing=True)


def stalled(reason: str, message: str) -> Finding:
    """Return a finding of a problem that only a person can fix."""
    return Finding("False", reason, message, is_stalled=True)


def listing(names: Iterable[str], most: int = 3) -> str:
    """Return names for a message: at most a few of them."""
    known = list(names)
    shown = ", ".join(known[:most])
    return shown if len(known) <= most else f"{shown} and {len(known) - most} more"
