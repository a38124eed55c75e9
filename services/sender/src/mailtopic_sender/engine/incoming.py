"""A record that was read, decoded as far as it goes, and why it can't be a mail if it can't."""

from collections import OrderedDict
from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID, uuid5

from mailtopic_contract import (
    LegacyDefaults,
    MailHeaders,
    MailRecord,
    RecordError,
    RecordOrigin,
    decode_headers,
    decode_record,
)
from mailtopic_contract.record import LEGACY_NAMESPACE
from mailtopic_sender.ports import ConsumedRecord

_REMEMBERED_CODES = 20_000
"""How many newest codes are remembered: about 6 MB."""


class Incoming(NamedTuple):
    """A record and what was understood of it.

    Attributes:
        received_s: when it was queued, monotonic seconds.
        headers: the decoded headers; defaults if they can't be decoded.
        origin: where the record was first stored.
        mail: None if the record is no mail.
        error: why not; None for a mail.
    """

    record: ConsumedRecord
    received_s: float
    headers: MailHeaders
    origin: RecordOrigin
    mail: MailRecord | None = None
    error: Exception | None = None

    @property
    def mail_id(self) -> UUID:
        """The mail's id; for what is no mail, one that derives from where it was stored."""
        if self.mail is not None:
            return self.mail.id
        place = f"{self.origin.topic}/{self.origin.partition}/{self.origin.offset}"
        return self.headers.mail_id or uuid5(LEGACY_NAMESPACE, place)

    @property
    def purpose(self) -> str:
        """The mail's purpose; ``unknown`` for what is no mail."""
        return self.mail.purpose if self.mail is not None else "unknown"

    @property
    def attempt(self) -> int:
        """The attempt that the record asks for, from 1."""
        return self.headers.attempt

    def __repr__(self) -> str:
        # Neither the headers nor an error's text: they are foreign.
        return f"Incoming({self.record!r}, mail={self.mail!r})"


def decode_incoming(
    record: ConsumedRecord, legacy: LegacyDefaults, *, received_s: float = 0.0
) -> Incoming:
    """Decode a record; never raises for what it holds."""
    here = RecordOrigin(record.topic, record.partition, record.offset, record.timestamp_ms)
    try:
        headers = decode_headers(record.headers)
    except RecordError as error:
        return Incoming(record, received_s, MailHeaders(), here, error=_bare(error))
    origin = headers.origin or here
    if record.fault is not None:
        return Incoming(record, received_s, headers, origin, error=record.fault)
    try:
        mail = decode_record(record.value, origin=origin, legacy=legacy)
    except RecordError as error:
        return Incoming(record, received_s, headers, origin, error=_bare(error))
    except Exception as error:  # noqa: BLE001 - a bug must cost one record, not the consumer
        return Incoming(record, received_s, headers, origin, error=error)
    return Incoming(record, received_s, headers, origin, mail)


def _bare(error: RecordError) -> RecordError:
    """Return it without the frames that it went through.

    They hold the record and end in a cycle, and cycles are looked for seldom: megabytes of records
    that nobody needs would stay.
    """
    error.__context__ = None
    return error.with_traceback(None)


class NewestCodes:
    """Which mail is the newest for an address, among those that this process has read.

    Only purposes whose mails replace each other count. It doesn't know what other processes read,
    and it forgets the oldest entries.
    """

    def __init__(self, purposes: Collection[str], *, limit: int = _REMEMBERED_CODES) -> None:
        self._purposes = frozenset(purposes)
        self._limit = limit
        self._newest: OrderedDict[tuple[str, str], int] = OrderedDict()

    def note(self, mail: MailRecord) -> None:
        """Take note of a mail that was read."""
        if mail.purpose not in self._purposes:
            return
        key = (mail.address.normalised, mail.purpose)
        self._newest[key] = max(mail.accepted_at, self._newest.pop(key, 0))
        if len(self._newest) > self._limit:
            self._newest.popitem(last=False)

    def supersedes(self, mail: MailRecord) -> bool:
        """Whether a mail accepted later makes this one pointless."""
        key = (mail.address.normalised, mail.purpose)
        return self._newest.get(key, 0) > mail.accepted_at
