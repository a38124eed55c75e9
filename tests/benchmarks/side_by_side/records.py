"""Records to preload: ours in version 1, sealed, and the original's ``{"email", "code"}``."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mailtopic_contract import KeyRing, MailHeaders, MailRecord, MailSeal, new_record

CODE: Final = "314159"
_DAY_MS: Final = 86_400_000
_LATER: Final = 1_000_000_000_000
"""A time that is replaced by the real one when the record is sent."""
_LATER_FIELD: Final = b'"accepted_at":%d' % _LATER


class Format(StrEnum):
    """What a peer reads."""

    ORIGINAL = "original"
    VERSION_1 = "version 1"


@dataclass(frozen=True, slots=True)
class Record:
    """A record as a producer takes it."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()

    def accepted_at(self, now_ms: int) -> bytes:
        """Return the value with the time in its place; the original payload has none."""
        return self.value.replace(_LATER_FIELD, b'"accepted_at":%d' % now_ms)


def address(number: int) -> str:
    """Return the recipient of a mail; the sink reads the number back."""
    return f"u{number}@bench.test"


@dataclass
class RecordMaker:
    """Makes records, each once: rounds use the same ones on topics of their own.

    Attributes:
        keys: how many different keys there are; None: a key for each mail.
        made: the records so far.
    """

    keyring: KeyRing
    keys: int | None = None
    made: dict[Format, list[Record]] = field(default_factory=dict)

    def records(self, form: Format, count: int) -> list[Record]:
        """Return the mails 0 to count - 1."""
        made = self.made.setdefault(form, [])
        make = self._original if form is Format.ORIGINAL else self._version_1
        made.extend(make(number) for number in range(len(made), count))
        return made[:count]

    def _original(self, number: int) -> Record:
        value = json.dumps({"email": address(number), "code": CODE}).encode()
        return Record(self._key(address(number).encode(), number), value)

    def _version_1(self, number: int) -> Record:
        record: MailRecord = new_record(
            email=address(number),
            variables={"code": CODE},
            purpose="signup",
            locale="ru",
            accepted_at_ms=_LATER,
            expires_at_ms=round(time.time() * 1000) + _DAY_MS,
            # Version 2 binds topic and accepted_at, which only the publishing run knows.
            seal=MailSeal(self.keyring, "", version=1),
        )
        headers = tuple(MailHeaders(mail_id=record.id).encode())
        return Record(self._key(record.address.partition_key, number), record.encode(), headers)

    def _key(self, own: bytes, number: int) -> bytes:
        return own if self.keys is None else b"key-%d" % (number % self.keys)


def at(records: list[Record], now_ms: int) -> Iterator[tuple[Record, bytes]]:
    """Yield records with their values, accepted now."""
    for record in records:
        yield record, record.accepted_at(now_ms)
