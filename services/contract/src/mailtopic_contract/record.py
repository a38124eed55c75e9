"""The record's value: a mail on its way from a service to a sender."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, NamedTuple, NoReturn, Self
from uuid import UUID, uuid4, uuid5

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mailtopic_contract.address import Address, parse_address
from mailtopic_contract.errors import BadAddress, RecordError, SealingError
from mailtopic_contract.mail_seal import BoundFields, MailSeal
from mailtopic_contract.sealing import Sealed

MAX_VALUE_BYTES = 262_144
"""A longer value is rejected unread: no transactional mail needs it."""

MAX_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, which every language's date type can represent."""

LEGACY_NAMESPACE = UUID("0f6a3d0e-6f0b-5d3c-9c55-3f3f8b1f5a10")
"""Namespace of the ids derived for records without one from their first place and time."""

_SECONDS = range(10**9, 10**11)
"""Record times in seconds (2001 to 5138); as milliseconds they would be before 1974."""

UNSPECIFIED_PURPOSE = "unspecified"
"""The purpose of a mail whose record has none: nothing may supersede it, because a newer code for
the same address can have another purpose."""

TimeMs = Annotated[int, Field(ge=0, le=MAX_TIME_MS)]
NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,63}$"
LOCALE_PATTERN = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Locale = Annotated[str, Field(pattern=LOCALE_PATTERN)]


def _reject_surrogates(text: str) -> str:
    if not _is_unicode(text):
        raise ValueError("must be valid Unicode text")
    return text


def _is_unicode(text: str) -> bool:
    # Python strings can hold lone surrogates, which can't be encoded in mails or records.
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


Text = Annotated[str, AfterValidator(_reject_surrogates)]


class RecordOrigin(NamedTuple):
    """Where a record was first stored; ``timestamp_ms`` is the record's own time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int

    @property
    def derived_id(self) -> UUID:
        """The id of a mail whose record has none: by place and record time.

        The place alone repeats when a topic is deleted and created again. The record's content is
        left out: a six-digit code could be recovered from its hash.
        """
        return uuid5(LEGACY_NAMESPACE, f"{self._place}/{self.timestamp_ms}")

    @property
    def former_id(self) -> UUID:
        """The id that versions up to 0.1 derived from the place alone."""
        return uuid5(LEGACY_NAMESPACE, self._place)

    @property
    def _place(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


def is_in_seconds(time_ms: int) -> bool:
    """Whether a time that should be in milliseconds must be in seconds."""
    return time_ms in _SECONDS


def to_ms(time_ms: int) -> int:
    """Return a time in milliseconds that some producers give in seconds."""
    return time_ms * 1000 if time_ms in _SECONDS else time_ms


@dataclass(frozen=True, slots=True)
class LegacyDefaults:
    """Defaults for what the original payload ``{"email", "code"}`` lacks."""

    locale: str
    max_age_ms: int


class MailRecord(BaseModel):
    """A mail, version 1. Unknown fields are kept and passed on.

    Exactly one of ``variables`` and ``sealed`` is set. Times are epoch milliseconds. Neither repr
    nor any error shows the address or the variables.
    """

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True, strict=True)

    v: Literal[1] = 1
    id: Annotated[UUID, Field(strict=False)]
    email: str = Field(repr=False)
    purpose: Name
    locale: Locale
    variables: dict[Name, Text] | None = Field(default=None, repr=False)
    sealed: Sealed | None = Field(default=None, repr=False)
    accepted_at: TimeMs
    expires_at: TimeMs

    @model_validator(mode="after")
    def _has_one_kind_of_variables(self) -> Self:
        if (self.variables is None) == (self.sealed is None):
            raise ValueError("exactly one of variables and sealed must be given")
        return self

    @cached_property
    def address(self) -> Address:
        """The recipient. Raises BadAddress; never for a record from `decode_record`."""
        return parse_address(self.email)

    @property
    def bound_fields(self) -> BoundFields:
        """What sealing binds the variables to."""
        return BoundFields(
            self.id, self.email, self.purpose, self.locale, self.accepted_at, self.expires_at
        )

    def encode(self) -> bytes:
        """Return the record's value: compact UTF-8 JSON."""
        encoded: bytes = self.__pydantic_serializer__.to_json(self, exclude_none=True)
        return encoded

    def __repr__(self) -> str:
        return f"MailRecord(id={self.id}, purpose={self.purpose!r}, locale={self.locale!r})"

    __str__ = __repr__


_validate_json = MailRecord.__pydantic_validator__.validate_json


def new_record(
    *,
    email: str,
    variables: Mapping[str, str],
    purpose: str,
    locale: str,
    accepted_at_ms: int,
    expires_at_ms: int,
    seal: MailSeal | None,
    mail_id: UUID | None = None,
) -> MailRecord:
    """Return a mail to publish, its variables sealed when a seal is given: that of its topic.

    Raises:
        RecordError: an argument contradicts the contract (BadAddress for the address).
    """
    mail_id = mail_id or uuid4()
    plain = dict(variables)
    try:
        record = MailRecord(
            id=mail_id,
            email=parse_address(email).normalised,
            purpose=purpose,
            locale=locale,
            variables=plain,
            accepted_at=accepted_at_ms,
            expires_at=expires_at_ms,
        )
    except ValidationError as error:
        _raise_bad_field(error)
    if seal is None:
        return record
    sealed = seal.seal(record.bound_fields, plain)
    return record.model_copy(update={"variables": None, "sealed": sealed})


def open_variables(record: MailRecord, seal: MailSeal | None) -> Mapping[str, str]:
    """Return a mail's variables, unsealed if they are sealed; `seal` is that of its topic.

    Raises:
        SealingError: they are sealed and can't be opened; see `MailSeal.open`.
    """
    if record.sealed is None:
        return record.variables or {}
    if seal is None:
        raise SealingError("the variables are sealed, and no key ring is set")
    return seal.open(record.bound_fields, record.sealed)


def decode_record(
    value: bytes | None,
    *,
    origin: RecordOrigin,
    legacy: LegacyDefaults,
    known_id: UUID | None = None,
) -> MailRecord:
    """Return the mail in a record's value: version 1, or the original payload.

    The original payload is ``{"email", "code"}``: its id derives from its first place and time, so
    that every reading of the same record gives the same mail.

    Args:
        value: the record's value; a byte order mark before its JSON is ignored.
        origin: where and when the record was first stored.
        legacy: defaults for what the original payload lacks.
        known_id: the id of an earlier attempt of the original payload.

    Raises:
        RecordError: and nothing else, whatever the bytes are.
    """
    if value is None or not value:
        raise RecordError("empty", "the record has no value")
    if len(value) > MAX_VALUE_BYTES:
        raise RecordError("too-large", f"the value has more than {MAX_VALUE_BYTES} bytes")
    record = _decode_ours(value) or _decode_any(value, origin, legacy, known_id)
    # Parsed here, so that a bad one is found where records are rejected; stored where
    # cached_property looks for it, without its lock.
    record.__dict__["address"] = parse_address(record.email)
    return record


def _decode_ours(value: bytes) -> MailRecord | None:
    """Decode the output of `MailRecord.encode` in half the time; None for anything else.

    pydantic's own parser accepts more than `_decode_any` does: NaN, a value out of range that a
    second one of the same name replaces, ``"v": true``. None of that is encoded again unchanged.
    """
    try:
        record = _validate_json(value)
    except ValidationError:
        return None
    if record.model_extra or (record.sealed is not None and record.sealed.model_extra):
        return None
    return record if record.encode() == value else None


def _decode_any(
    value: bytes, origin: RecordOrigin, legacy: LegacyDefaults, known_id: UUID | None = None
) -> MailRecord:
    data = _parse_object(value)
    if "v" not in data and "code" in data:
        data = _from_original_payload(data, origin, legacy)
        data["id"] = known_id or origin.derived_id
    elif data.get("v") != 1 or isinstance(data["v"], bool):
        raise RecordError("unknown-version", "the record's version is not 1")
    try:
        return MailRecord.model_validate(data)
    except ValidationError as error:
        _raise_bad_field(error)


def _parse_object(value: bytes) -> dict[str, object]:
    try:
        text = value.decode("utf-8-sig")
        data = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        if "\\u" in text:  # only an escape can hide a lone surrogate in valid UTF-8
            json.dumps(data, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise RecordError("bad-json", "the value is not valid JSON in UTF-8") from None
    if not isinstance(data, dict):
        raise RecordError("bad-json", "the value is not a JSON object")
    return data


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON (RFC 8259 §6)")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is out of range")
    return number


def _from_original_payload(
    data: dict[str, object], origin: RecordOrigin, legacy: LegacyDefaults
) -> dict[str, object]:
    rest = dict(data)
    code, email = rest.pop("code"), rest.pop("email", None)
    # The original consumer put numbers into its text unchanged.
    if isinstance(code, bool) or not isinstance(code, str | int):
        raise RecordError("bad-field", "code: must be a text or a whole number")
    if email is None:
        raise RecordError("bad-field", "email: is missing")
    if not str(code).strip():
        raise RecordError("bad-field", "code: is empty")
    accepted_at = max(to_ms(origin.timestamp_ms), 0)
    # Other fields are kept, but can't override the fields of version 1.
    return rest | {
        "v": 1,
        "email": email,
        "purpose": UNSPECIFIED_PURPOSE,
        "locale": legacy.locale,
        "variables": {"code": str(code)},
        "sealed": None,
        "accepted_at": accepted_at,
        "expires_at": min(accepted_at + legacy.max_age_ms, MAX_TIME_MS),
    }


def _raise_bad_field(error: ValidationError) -> NoReturn:
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    # Only field names of the contract: an unknown key is the producer's own text.
    known = [str(part) for part in first["loc"] if part in MailRecord.model_fields]
    where = known[0] if known else "record"
    raise RecordError("bad-field", f"{where}: {first['msg']}") from None


__all__ = [
    "LEGACY_NAMESPACE",
    "MAX_VALUE_BYTES",
    "UNSPECIFIED_PURPOSE",
    "BadAddress",
    "LegacyDefaults",
    "MailRecord",
    "RecordOrigin",
    "decode_record",
    "is_in_seconds",
    "new_record",
    "open_variables",
    "to_ms",
]
