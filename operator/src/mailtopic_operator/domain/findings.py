"""What was found out about one aspect of a MailTopic: a condition in the making."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one aspect.

    Attributes:
        reason: one word, CamelCase.
        message: for people; says what to do where something is to be done.
        is_stalled: only a person can help.
        is_progressing: it is on its way without anybody's help.
    """

    status: Truth
    reason: str
    message: str
    is_stalled: bool = False
    is_progressing: bool = False


def good(reason: str, message: str) -> Finding:
    """Return that all is as it should be."""
    return Finding("True", reason, message)


def pending(reason: str, message: str) -> Finding:
    """Return that it isn't yet as it should be, but on its way."""
    return Finding("False", reason, message, is_progressing=True)


def stalled(reason: str, message: str) -> Finding:
    """Return that it isn't as it should be until a person helps."""
    return Finding("False", reason, message, is_stalled=True)


def listing(names: Iterable[str], most: int = 3) -> str:
    """Return names for a message: not more than a few of them."""
    known = list(names)
    shown = ", ".join(known[:most])
    return shown if len(known) <= most else f"{shown} and {len(known) - most} more"
