"""A record that was read, decoded as far as possible, with the error if it isn't a mail."""

from collections import OrderedDict
from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from mailtopic_contract import (
    LegacyDefaults,
    MailHeaders,
    MailRecord,
    RecordError,
    RecordOrigin,
    decode_headers,
    decode_record,
)
from mailtopic_contract.record import UNSPECIFIED_PURPOSE, is_in_seconds
from mailtopic_sender.ports import ConsumedRecord

_EARLIEST_MS = 10**12
"""September 2001: no Kafka record is older."""

_REMEMBERED_CODES = 20_000
"""How many of the newest codes are remembered: about 6 MB."""


class Incoming(NamedTuple):
    """A record and its decoded parts.

    Attributes:
        received_s: when it was queued, monotonic seconds.
        queue_s: how long it was in Kafka before that, seconds; 0 if its time isn't known.
        headers: the decoded headers; defaults if they can't be decoded.
        origin: where the record was first stored.
        mail: None if the record isn't a mail.
        error: why not; None for a mail.
        was_parked: whether it was read before, when the DLQ didn't take it.
    """

    record: ConsumedRecord
    received_s: float
    queue_s: float
    headers: MailHeaders
    origin: RecordOrigin
    mail: MailRecord | None = None
    error: Exception | None = None
    was_parked: bool = False

    @property
    def mail_id(self) -> UUID:
        """The mail's id; for anything else, one derived from the record's first place and time."""
        if self.mail is not None:
            return self.mail.id
        return self.headers.mail_id or self.origin.derived_id

    @property
    def has_derived_id(self) -> bool:
        """Whether the record carries no id, so that its id derives from its origin."""
        if self.mail is not None and self.mail.purpose != UNSPECIFIED_PURPOSE:
            return False
        return self.mail_id == self.origin.derived_id

    def under(self, mail_id: UUID) -> "Incoming":
        """Return it under another id, which an earlier version used for its outcomes."""
        if self.mail is None:
            return self._replace(headers=self.headers._replace(mail_id=mail_id))
        return self._replace(mail=self.mail.model_copy(update={"id": mail_id}))

    @property
    def purpose(self) -> str:
        """The mail's purpose; ``unknown`` if it isn't a mail."""
        return self.mail.purpose if self.mail is not None else "unknown"

    @property
    def attempt(self) -> int:
        """The attempt that the record asks for, from 1."""
        return self.headers.attempt

    def __repr__(self) -> str:
        # Neither the headers nor an error's text: they are untrusted.
        return f"Incoming({self.record!r}, mail={self.mail!r})"


def decode_incoming(
    record: ConsumedRecord,
    legacy: LegacyDefaults,
    *,
    received_s: float = 0.0,
    queue_s: float = 0.0,
) -> Incoming:
    """Decode a record; never raises, whatever it holds."""
    here = RecordOrigin(record.topic, record.partition, record.offset, record.timestamp_ms)
    try:
        headers = decode_headers(record.headers)
    except RecordError as error:
        return Incoming(record, received_s, queue_s, MailHeaders(), here, error=_bare(error))
    origin = headers.origin or here
    if record.fault is not None:
        return Incoming(record, received_s, queue_s, headers, origin, error=record.fault)
    try:
        mail = decode_record(
            record.value, origin=origin, legacy=legacy, known_id=headers.earlier_id
        )
        _check_times(mail)
    except RecordError as error:
        return Incoming(record, received_s, queue_s, headers, origin, error=_bare(error))
    except Exception as error:  # noqa: BLE001 - a bug must cost one record, not the consumer
        return Incoming(record, received_s, queue_s, headers, origin, error=error)
    return Incoming(record, received_s, queue_s, headers, origin, mail)


def _bare(error: RecordError) -> RecordError:
    """Return it without its traceback.

    The frames hold the record in a reference cycle, and cycles are collected rarely: megabytes of
    unneeded records would stay.
    """
    error.__context__ = None
    return error.with_traceback(None)


def _check_times(mail: MailRecord) -> None:
    """Reject times in another unit: such a mail would silently count as expired."""
    if is_in_seconds(mail.expires_at):
        raise RecordError("bad-field", "expires_at: is in seconds, not in milliseconds")
    if mail.purpose == UNSPECIFIED_PURPOSE and mail.accepted_at < _EARLIEST_MS:
        raise RecordError("bad-field", "accepted_at: the record has no time")


class NewestCodes:
    """The newest mail for each address, among those that this process has read.

    Only purposes whose mails replace each other count. What other processes read isn't included,
    and the oldest entries are dropped.
    """

    def __init__(self, purposes: Collection[str], *, limit: int = _REMEMBERED_CODES) -> None:
        self._purposes = frozenset(purposes)
        self._limit = limit
        self._newest: OrderedDict[tuple[str, str], int] = OrderedDict()

    def note(self, mail: MailRecord) -> None:
        """Register a mail that was read."""
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
