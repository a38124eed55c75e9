"""A dead letter: one record of the DLQ, parsed as far as possible. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from mailtopic_cli.dlq.masking import safe_text
from mailtopic_cli.dlq.ports import NewRecord, TopicRecord
from mailtopic_contract import (
    LegacyDefaults,
    MailHeaders,
    MailRecord,
    Outcome,
    RecordError,
    RecordOrigin,
    StatusEvent,
    TopicNames,
    decode_headers,
    decode_record,
)

NO_CLASS = "none"
_ORIGIN = "mt-origin-"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record of the DLQ.

    Attributes:
        headers: its parsed headers, without invalid ``mt-*`` ones.
        origin: where the record was first stored.
        mail: None if the record is no mail.
        problem: why it is no mail, in words without its content.
    """

    record: TopicRecord
    headers: MailHeaders
    origin: RecordOrigin
    mail: MailRecord | None
    problem: str | None

    @property
    def id(self) -> UUID | None:
        """The id under which its death is recorded in N.status."""
        return self.headers.mail_id or (self.mail.id if self.mail else None)

    @property
    def place(self) -> str:
        """Where it is in the DLQ: ``partition/offset``."""
        return f"{self.record.partition}/{self.record.offset}"

    @property
    def died_at_ms(self) -> int:
        """When it was put into the DLQ, epoch milliseconds."""
        return self.record.timestamp_ms

    @property
    def error_class(self) -> str:
        """The error class of its death."""
        return safe_text(self.headers.error.error_class) if self.headers.error else NO_CLASS

    def is_expired(self, now_ms: int) -> bool | None:
        """Whether it has expired; None if unknown."""
        return None if self.mail is None else now_ms >= self.mail.expires_at


def read_letter(record: TopicRecord, legacy: LegacyDefaults) -> DeadLetter:
    """Parse a record as far as possible; never raises for its content."""
    headers = _lenient_headers(record.headers)
    here = RecordOrigin(record.topic, record.partition, record.offset, record.timestamp_ms)
    origin = headers.origin or here
    try:
        mail = decode_record(
            record.value, origin=origin, legacy=legacy, known_id=headers.earlier_id
        )
    except RecordError as error:
        return DeadLetter(record, headers, origin, None, f"{error.reason}: {error}")
    return DeadLetter(record, headers, origin, mail, None)


def _lenient_headers(headers: Sequence[tuple[str, bytes | None]]) -> MailHeaders:
    try:
        return decode_headers(headers)
    except RecordError:
        pass
    # The sender's own headers are valid; a foreign one that it couldn't read stays beside them.
    kept = [header for header in headers if header[0].startswith(_ORIGIN) or _is_valid(header)]
    try:
        return decode_headers(kept)
    except RecordError:
        return decode_headers([header for header in kept if not header[0].startswith(_ORIGIN)])


def _is_valid(header: tuple[str, bytes | None]) -> bool:
    try:
        decode_headers([header])
    except RecordError:
        return False
    return True


def replayed(letter: DeadLetter, mail: MailRecord, names: TopicNames) -> NewRecord:
    """Return the record that gives a dead mail its next attempt.

    Partition, key and value stay as they are, and so does the origin, from which the id of a mail
    of the original payload derives. The attempt is increased by one: senders have recorded the
    last one as done, and would skip the mail. The error is dropped, foreign headers stay.
    """
    headers = MailHeaders(
        mail_id=mail.id,
        attempt=letter.headers.attempt + 1,
        first_failure_at_ms=letter.headers.first_failure_at_ms,
        origin=letter.origin,
        trace=letter.headers.trace,
        others=letter.headers.others,
    )
    record = letter.record
    return NewRecord(
        names.main, record.partition, record.key, record.value, tuple(headers.encode())
    )


def replay_mark(
    letter: DeadLetter, mail: MailRecord, names: TopicNames, *, now_ms: int
) -> NewRecord:
    """Return the event for N.status that this dead letter was replayed.

    It is a ``deferred`` of the last attempt: another one follows.
    """
    event = StatusEvent.model_validate(
        {
            "id": mail.id,
            "outcome": Outcome.DEFERRED,
            "at": now_ms,
            "attempt": letter.headers.attempt,
            "purpose": mail.purpose,
            "replayed": True,
        }
    )
    return NewRecord(names.status, letter.record.partition, event.key, event.encode())


def is_replay_mark(event: StatusEvent) -> bool:
    """Whether an event was written by a replay."""
    return event.outcome is Outcome.DEFERRED and event.replayed is True
