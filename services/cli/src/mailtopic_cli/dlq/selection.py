"""Which dead letters a command selects. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from mailtopic_cli.dlq.letter import DeadLetter
from mailtopic_runtime import SettingError

_AGO = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_RATE = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)(?:/(s|m|h))?")
_UNIT_S = {None: 1, "s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects letters that match all of these; an empty or None field matches all letters.

    Attributes:
        classes: error classes, in lower case.
        ids: ids under which deaths are recorded, or ids of mails.
        since_ms: died at this time or later, epoch milliseconds.
        until_ms: died before this time.
    """

    classes: frozenset[str] = frozenset()
    ids: frozenset[UUID] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a letter is selected."""
        died_at_ms = letter.died_at_ms
        return (
            (not self.classes or letter.error_class.lower() in self.classes)
            and (not self.ids or letter.id in self.ids or _mail_id(letter) in self.ids)
            and (self.since_ms is None or died_at_ms >= self.since_ms)
            and (self.until_ms is None or died_at_ms < self.until_ms)
        )


def _mail_id(letter: DeadLetter) -> UUID | None:
    return letter.mail.id if letter.mail else None


def parse_moment(option: str, text: str | None, *, now_ms: int) -> int | None:
    """Return the epoch milliseconds of ``10m`` (ago) or an ISO 8601 time; UTC if it doesn't say.

    Raises:
        SettingError: the text is neither.
    """
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago:
        return now_ms - int(ago[1]) * _UNIT_MS[ago[2]]
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise SettingError(
            option, "must be a time such as 2026-01-31T12:00:00Z, or an age such as 10m"
        ) from None


def parse_ids(option: str, texts: list[str]) -> frozenset[UUID]:
    """Return the ids that texts stand for.

    Raises:
        SettingError: one of them is no UUID.
    """
    try:
        return frozenset(UUID(text) for text in texts)
    except ValueError:
        raise SettingError(option, "must be a mail's id, a UUID") from None


def parse_rate(option: str, text: str | None) -> float | None:
    """Return the mails a second that ``50/s``, ``600/m`` or ``50`` stand for.

    Raises:
        SettingError: the text is no rate above 0.
    """
    if text is None:
        return None
    match = _RATE.fullmatch(text)
    if not match or not float(match[1]):
        raise SettingError(option, "must be a rate such as 50/s or 600/m")
    return float(match[1]) / _UNIT_S[match[2]]


def parse_place(text: str) -> tuple[int, int] | None:
    """Return partition and offset of ``3/120``; None if the text is no such place."""
    partition, slash, offset = text.partition("/")
    if slash and all(part.isdecimal() and len(part) < 19 for part in (partition, offset)):  # noqa: PLR2004
        return int(partition), int(offset)
    return None
