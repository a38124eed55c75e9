"""The outcomes of mails: the events of N.status."""

from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mailtopic_contract.errors import RecordError
from mailtopic_contract.record import MAX_TIME_MS, MAX_VALUE_BYTES, TimeMs


class Outcome(StrEnum):
    """The outcome of a mail. All except DEFERRED are final."""

    ACCEPTED = "accepted"
    """A relay answered 250 to the final dot."""
    DEFERRED = "deferred"
    """Another attempt will follow."""
    BOUNCED = "bounced"
    """A relay refused it permanently, because of the recipient or the content."""
    EXPIRED = "expired"
    """It expired before a relay accepted it; nothing was sent after that."""
    SUPERSEDED = "superseded"
    """A newer mail with the same purpose for the same address made it pointless."""
    SUPPRESSED = "suppressed"
    """The recipient is on the suppression list; nothing was sent."""
    UNKNOWN = "unknown"
    """The final dot was sent, the reply was lost, and the MailTopic's setting is Hold."""
    DEAD = "dead"
    """It is in the DLQ: no mail could be made of it."""

    @property
    def final(self) -> bool:
        """Whether no other outcome follows."""
        return self is not Outcome.DEFERRED


class StatusEvent(BaseModel):
    """One outcome of one mail, keyed in N.status by the mail's id.

    Attributes:
        attempt: the attempt with this outcome, from 1.
        relay: the name of the relay that replied, if one did.
        reply_class: the class of its reply.
        smtp: its reply code and enhanced code, such as ``250 2.0.0``; never its text.
        replayed: the mail was replayed to its topic by hand after this attempt had ended it.
        taken_back: for a deferred mail, this attempt was recorded as a bounce that wasn't the
            recipient's fault; the bounce doesn't count any more.
        tier: for a deferred mail, the retry tier that holds it.
        not_before: for a deferred mail, when its next attempt is due, epoch milliseconds.
    """

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True, strict=True)

    v: Literal[1] = 1
    id: Annotated[UUID, Field(strict=False)]
    outcome: Annotated[Outcome, Field(strict=False)]
    at: TimeMs
    attempt: int = Field(ge=1)
    purpose: str = Field(max_length=64)
    relay: str | None = Field(default=None, max_length=253)
    reply_class: str | None = Field(default=None, max_length=64)
    smtp: str | None = Field(default=None, max_length=32)
    replayed: bool | None = None
    taken_back: bool | None = None
    tier: str | None = Field(default=None, max_length=16)
    not_before: TimeMs | None = None

    @property
    def key(self) -> bytes:
        """The event's record key."""
        return str(self.id).encode("ascii")

    def encode(self) -> bytes:
        """Return the event's value: compact UTF-8 JSON."""
        encoded: bytes = self.__pydantic_serializer__.to_json(self, exclude_none=True)
        return encoded


def encode_outcome(
    mail_id: UUID,
    outcome: Outcome,
    *,
    at_ms: int,
    attempt: int,
    purpose: str,
    relay: str | None = None,
    reply_class: str | None = None,
    smtp: str | None = None,
) -> tuple[bytes, bytes]:
    """Return key and value of a StatusEvent without creating one: a sender writes one per mail.

    Raises:
        ValidationError: as StatusEvent does.
    """
    if not 0 <= at_ms <= MAX_TIME_MS or attempt < 1:
        # It raises its own error.
        StatusEvent(id=mail_id, outcome=outcome, at=at_ms, attempt=attempt, purpose=purpose)
    text = str(mail_id)
    rest = _encoded_rest(outcome, purpose, relay, reply_class, smtp)
    value = f'{{"v":1,"id":"{text}","outcome":"{rest[0]}","at":{at_ms},"attempt":{attempt}{rest[1]}'
    return text.encode("ascii"), value.encode()


@lru_cache(maxsize=1024)
def _encoded_rest(
    outcome: Outcome, purpose: str, relay: str | None, reply_class: str | None, smtp: str | None
) -> tuple[str, str]:
    """Return the parts that many events share: the outcome, and all after the attempt."""
    event = StatusEvent(
        id=UUID(int=0),
        outcome=outcome,
        at=0,
        attempt=1,
        purpose=purpose,
        relay=relay,
        reply_class=reply_class,
        smtp=smtp,
    )
    _, _, rest = event.encode().decode().partition('"attempt":1')
    return event.outcome.value, rest


def decode_status(value: bytes | None) -> StatusEvent:
    """Return the event in a record of N.status.

    Raises:
        RecordError: and nothing else, whatever the bytes are.
    """
    if value is None or not value:
        raise RecordError("empty", "the status record has no value")
    if len(value) > MAX_VALUE_BYTES:
        raise RecordError("too-large", f"the value has more than {MAX_VALUE_BYTES} bytes")
    try:
        return StatusEvent.model_validate_json(value)
    except (ValidationError, UnicodeError):
        raise RecordError("bad-field", "the value is not a status event") from None
