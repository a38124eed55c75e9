"""The bodies of requests and answers, as the OpenAPI shows them."""

import unicodedata
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from mailtopic_contract import MAX_ADDRESS_OCTETS, UNSPECIFIED_PURPOSE, Outcome
from mailtopic_signup.domain.challenge import Delivery, State
from mailtopic_signup.language import known_locale

NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,63}$"
_MAX_TYPED_LENGTH = 64
_BETWEEN_DIGITS = {"Pd", "Cf"}  # dashes, and invisible characters
MIN_EXPIRES_IN_S = 60
MAX_EXPIRES_IN_S = 86_400
"""A mail that couldn't be delivered in a day isn't expected any more."""


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _whole(given: object) -> object:
    # To JSON Schema 600.0 is an integer, too (draft 2020-12, validation §6.1.1).
    return int(given) if isinstance(given, float) and given.is_integer() else given


def _ascii_digits(given: object) -> object:
    # Arabic keyboards type ١٢٣, Hindi ones १२३; and codes are copied from mails with spaces.
    if not isinstance(given, str) or len(given) > _MAX_TYPED_LENGTH:
        return given
    digits = (unicodedata.decimal(character, None) for character in given)
    return "".join(
        character if digit is None else str(digit)
        for character, digit in zip(given, digits, strict=True)
        if not (character.isspace() or unicodedata.category(character) in _BETWEEN_DIGITS)
    )


Locale = Annotated[str | None, AfterValidator(known_locale)]
"""A preference, never a reason to refuse a mail: an invalid locale counts as none."""

Moment = Annotated[datetime, PlainSerializer(_rfc3339)]
"""A moment in UTC, written as RFC 3339 asks: 2026-09-21T13:33:20.000Z."""


def moment(time_ms: int) -> datetime:
    """Return a moment from epoch milliseconds."""
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC)


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, strict=True)


class SignupRequest(_Body):
    """Who signs up. Unknown fields are ignored."""

    email: str = Field(
        # Longer texts are refused by the grammar; the schema only documents it.
        json_schema_extra={"format": "email", "maxLength": MAX_ADDRESS_OCTETS},
        examples=["anna@example.com"],
        repr=False,
    )
    locale: Locale = Field(
        default=None,
        description="Language of the mail (BCP 47), if it is one; else Accept-Language decides.",
        examples=["ru"],
    )


class VerifyRequest(_Body):
    """The code that came by mail."""

    code: Annotated[str, BeforeValidator(_ascii_digits)] = Field(
        pattern=r"^([0-9]{6,10}|[0-9]{16})$", examples=["123456", "1234567890123456"], repr=False
    )


class MailRequest(_Body):
    """A mail. Unknown fields are ignored."""

    topic: str = Field(
        max_length=249, description="One of the token's topics.", examples=["receipts"]
    )
    to: str = Field(
        json_schema_extra={"format": "email", "maxLength": MAX_ADDRESS_OCTETS},
        examples=["anna@example.com"],
        repr=False,
    )
    locale: Locale = Field(
        default=None,
        description="Language of the mail (BCP 47), if it is one; else the service's default.",
        examples=["en"],
    )
    purpose: str = Field(
        default=UNSPECIFIED_PURPOSE,
        pattern=NAME_PATTERN,
        description="Which template the sender takes.",
        examples=["receipt"],
    )
    variables: dict[Annotated[str, Field(pattern=NAME_PATTERN)], str] = Field(
        default_factory=dict,
        description="What the template is filled with. Sealed before it is stored.",
        # By default the schema would allow other names as well.
        json_schema_extra={"additionalProperties": False},
        examples=[{"code": "123456"}],
        repr=False,
    )
    expires_in: Annotated[int, BeforeValidator(_whole)] = Field(
        default=3600,
        ge=MIN_EXPIRES_IN_S,
        le=MAX_EXPIRES_IN_S,
        description="Seconds after which the mail is worth nothing and isn't sent any more.",
    )
    idempotency_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="The same key with the same mail gets the same answer for 24 hours.",
        repr=False,
    )


class MailAccepted(_Body):
    """A mail will be sent."""

    id: UUID = Field(description="Under which the mail's status is found, and its outcome.")
    expires_at: Moment


class MailState(StrEnum):
    """Where a mail stands: waiting, or its latest outcome; each but the first two is final."""

    QUEUED = "queued"
    DEFERRED = Outcome.DEFERRED.value
    ACCEPTED = Outcome.ACCEPTED.value
    BOUNCED = Outcome.BOUNCED.value
    EXPIRED = Outcome.EXPIRED.value
    SUPERSEDED = Outcome.SUPERSEDED.value
    SUPPRESSED = Outcome.SUPPRESSED.value
    UNKNOWN = Outcome.UNKNOWN.value
    DEAD = Outcome.DEAD.value


class MailStatus(MailAccepted):
    """What became of a mail."""

    topic: str
    state: MailState
    state_at: Moment
    accepted_at: Moment
    smtp: str | None = Field(
        default=None,
        description="The relay's reply code and enhanced code, if one replied.",
        examples=["550 5.1.1"],
    )


class SignupAccepted(_Body):
    """A mail will be sent."""

    challenge_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    expires_at: Moment = Field(description="When the code stops being valid.")
    resend_after: Moment = Field(
        description="When a resend may be asked for: then a code that works here is mailed, or, "
        "where the address has had its mails for now, the latest mail's works here."
    )


def accepted_json(challenge_id: str, expires_at: int, resend_after: int) -> bytes:
    """Return the JSON of a SignupAccepted, without an instance; times are epoch milliseconds."""
    expires, resend = _rfc3339(moment(expires_at)), _rfc3339(moment(resend_after))
    return (
        f'{{"challenge_id":"{challenge_id}","expires_at":"{expires}","resend_after":"{resend}"}}'
    ).encode()


class SignupStatus(SignupAccepted):
    """Where a signup stands."""

    state: State
    delivery: Delivery


class Verified(_Body):
    """The address is confirmed."""

    state: State = State.VERIFIED
    user_id: UUID


class Health(_Body):
    """Whether the service works. Without Kafka it is degraded: mails wait, signups don't."""

    status: str = Field(pattern="^(ok|degraded|unavailable)$")
    database: str
    kafka: str


class FieldError(_Body):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(_Body):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = Field(default=None, description="The request's id, for the logs.")
    errors: list[FieldError] | None = None
    tries_left: int | None = Field(default=None, description="Only where a code was wrong.")
