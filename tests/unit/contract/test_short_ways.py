"""What is decoded by a short way is what the long way makes of it, and refuses nothing else."""

import base64
import json
from collections.abc import Callable
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from mailtopic_contract import (
    MAX_ADDRESS_OCTETS,
    Address,
    BadAddress,
    HeaderError,
    KeyRing,
    LegacyDefaults,
    MailHeaders,
    MailRecord,
    MailSeal,
    Outcome,
    RecordError,
    RecordOrigin,
    Sealed,
    SealingError,
    StatusEvent,
    address,
    decode_headers,
    decode_record,
    encode_outcome,
    headers,
    new_record,
    parse_address,
    record,
)

ORIGIN = RecordOrigin(topic="mails", partition=3, offset=42, timestamp_ms=1_790_000_000_000)
LEGACY = LegacyDefaults(locale="ru", max_age_ms=600_000)
ID = UUID("11111111-2222-4333-8444-555555555555")


def mail(seal: MailSeal | None) -> MailRecord:
    return new_record(
        email="someone@example.com",
        variables={"code": "123456"},
        purpose="signup",
        locale="ru",
        accepted_at_ms=1,
        expires_at_ms=2,
        seal=seal,
        mail_id=ID,
    )


PLAIN = mail(None).encode()
SEALED = mail(MailSeal(KeyRing.generate(), "mails")).encode()
FIELDS = {**json.loads(PLAIN), **json.loads(SEALED)}

# What JSON can hold where our records hold something else, as it is written there.
WRITTEN = r"""
    1 true false null 0 -0 1.0 1e0 1e999 -1 NaN Infinity "1" "" [] {} 01 1_0 'v' 99999999999999
    253402300799999 253402300800000 {"code":1} {"Code":"1"} {"code":"1","code":"2"} {"v":"v"}
    {"code":"1"} {"kid":"k1","n":"","ct":""} {"kid":"k1","n":"","ct":"","x":NaN} [[[[[]]]]]
    {"kid":"k1","n":"","ct":"","kid":"k2"} "\u0041" "\ud800" "a@b.test" "signup" "v" "ru-RU" "ru\n"
    "{11111111222243338444555555555555}" "urn:uuid:11111111-2222-4333-8444-555555555555"
    "11111111-2222-4333-8444-55555555555" "кот" "a@кот.test" {"code":"\ud83d\ude00"}
"""
written = st.sampled_from(WRITTEN.split())
own = st.sampled_from([(name, json.dumps(value)) for name, value in FIELDS.items()])
names = st.sampled_from([*FIELDS, "x", "code", "\\u0076", "V", " v"])


@st.composite
def changed_records(draw: st.DrawFn) -> bytes:
    """A record of ours with some fields another value, left out, given twice, or unknown."""
    kept = draw(st.sampled_from([json.loads(PLAIN), json.loads(SEALED)]))
    pairs = [(name, json.dumps(value)) for name, value in kept.items()]
    for _ in range(draw(st.integers(0, 2))):
        new = draw(st.tuples(names, written) | own)
        place = draw(st.integers(0, len(pairs)))
        pairs[place : place + draw(st.integers(0, 1))] = [new]
    space = draw(st.sampled_from(["", "", "", " ", "\n", "\x0b"]))
    return ("{" + ",".join(f'"{n}"{space}:{v}' for n, v in pairs) + "}").encode()


@st.composite
def damaged_records(draw: st.DrawFn) -> bytes:
    """A record of ours with bytes changed, put in or taken out."""
    value = bytearray(draw(st.sampled_from([PLAIN, SEALED])))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(value)))
        value[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(value)


def by_the_long_way(value: bytes) -> MailRecord | tuple[str, str]:
    try:
        found = record._decode_any(value, ORIGIN, LEGACY)  # noqa: SLF001 - the judge
        _ = found.address
    except RecordError as error:
        return error.reason, str(error)
    return found


def as_told(value: bytes) -> MailRecord | tuple[str, str]:
    try:
        return decode_record(value, origin=ORIGIN, legacy=LEGACY)
    except RecordError as error:
        return error.reason, str(error)


@given(changed_records() | damaged_records())
@example(PLAIN)
@example(SEALED)
@example(PLAIN.replace(b'"v":1', b'"v":true'))
@example(PLAIN[:-1] + b',"v":true}')
@example(PLAIN[:-1] + b',"x":NaN}')
@example(PLAIN[:-1] + b',"x":1e999}')
@example(PLAIN.replace(b"someone", b"\xff"))
def test_a_record_is_understood_and_refused_as_by_the_long_way(value: bytes) -> None:
    told, expected = as_told(value), by_the_long_way(value)
    assert told == expected
    if isinstance(told, MailRecord) and isinstance(expected, MailRecord):
        assert told.model_fields_set == expected.model_fields_set
        assert told.address == expected.address
        assert told.encode() == expected.encode()


def test_our_own_records_go_the_short_way() -> None:
    for value in (PLAIN, SEALED):
        assert record._decode_ours(value) is not None  # noqa: SLF001 - else it would be for nothing
    first = MailHeaders(mail_id=ID).encode()
    assert headers._decode_first(first) is not None  # noqa: SLF001 - the same


address_texts = st.one_of(
    st.emails(),
    st.text('aA1.@-_+ "[]\\кe\u0301', max_size=12),
    st.tuples(st.integers(60, 70), st.integers(180, 200)).map(
        lambda lengths: f"{'a' * lengths[0]}@{'.'.join(['d' * 60] * 9)[: lengths[1]]}"
    ),
)


@given(address_texts)
@example("a@XN--E1AFMKFD.xn--p1ai")
@example("a@xn--a")
@example(" a@b.c ")
@example(" @ ")
def test_an_address_is_understood_and_refused_as_by_the_long_way(text: str) -> None:
    try:
        by_the_rules = address._parse_any(address._tidied(text))  # noqa: SLF001 - the judge
        expected: Address | str = by_the_rules
        if len(by_the_rules.normalised.encode()) > MAX_ADDRESS_OCTETS:
            expected = "the address is longer than 254 octets"
    except BadAddress as error:
        expected = str(error)
    try:
        found: Address | str = parse_address(text)
    except BadAddress as error:
        found = str(error)
    assert found == expected


ids = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda given: given.hex),
    st.uuids().map(lambda given: given.urn),
    st.uuids().map(lambda given: f"{{{str(given).upper()}}}"),
    st.text("0123456789abcdefABCDEF-{}:uniurd ", max_size=45),
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["mt-id", "mt-attempt", "traceparent", "x"]),
            st.one_of(ids.map(str.encode), st.sampled_from([b"1", b"2", b"01", b"\xff", None])),
        ),
        max_size=3,
    )
)
def test_headers_are_understood_and_refused_as_by_the_long_way(
    given_headers: list[tuple[str, bytes | None]],
) -> None:
    def outcome(decode: Callable[[list[tuple[str, bytes | None]]], MailHeaders]) -> object:
        try:
            return decode(given_headers)
        except HeaderError as error:
            return str(error)

    long_way = headers._decode_any  # noqa: SLF001 - the judge
    assert outcome(decode_headers) == outcome(long_way)


@given(ids)
def test_an_id_is_what_pythons_own_parser_says(text: str) -> None:
    try:
        expected: UUID | None = UUID(text)
    except ValueError:
        expected = None
    try:
        found = decode_headers([("mt-id", text.encode()), ("mt-attempt", b"1")]).mail_id
    except HeaderError:
        found = None
    assert found == expected


texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=70)


@given(
    mail_id=st.uuids(),
    outcome=st.sampled_from(Outcome),
    at_ms=st.integers(-1, 253_402_300_800_000),
    attempt=st.integers(0, 2**40),
    purpose=texts.map(lambda text: text or ""),
    relay=texts,
    reply_class=texts,
    smtp=texts,
)
@example(
    mail_id=ID,
    outcome=Outcome.ACCEPTED,
    at_ms=5,
    attempt=1,
    purpose='","attempt":1',
    relay=None,
    reply_class='"attempt":1',
    smtp='\\"\n',
)
def test_an_outcome_is_written_and_refused_as_its_event_is(
    *,
    mail_id: UUID,
    outcome: Outcome,
    at_ms: int,
    attempt: int,
    purpose: str,
    relay: str | None,
    reply_class: str | None,
    smtp: str | None,
) -> None:
    def told() -> tuple[bytes, bytes]:
        return encode_outcome(
            mail_id,
            outcome,
            at_ms=at_ms,
            attempt=attempt,
            purpose=purpose,
            relay=relay,
            reply_class=reply_class,
            smtp=smtp,
        )

    try:
        event = StatusEvent(
            id=mail_id,
            outcome=outcome,
            at=at_ms,
            attempt=attempt,
            purpose=purpose,
            relay=relay,
            reply_class=reply_class,
            smtp=smtp,
        )
    except ValidationError:
        with pytest.raises(ValidationError):
            told()
    else:
        assert told() == (event.key, event.encode())


KEY = bytes(range(32))
NONCE = bytes(12)


@given(
    st.one_of(
        st.binary(max_size=20),
        st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers(), max_size=3).map(
            lambda variables: json.dumps(variables, ensure_ascii=False).encode(
                "utf-8", "surrogatepass"
            )
        ),
        written.map(lambda value: f'{{"code":"1","more":{value},"code":"2"}}'.encode()),
        written.map(str.encode),
    )
)
@example('{"code":"1"}'.encode("utf-16"))
@example(b'\xef\xbb\xbf{"code":"1"}')
@example(b'{"code":"\\ud800"}')
@example(b"[" * 100_000)
def test_sealed_variables_are_what_pythons_own_parser_says(plain: bytes) -> None:
    ciphertext = AESGCM(KEY).encrypt(NONCE, plain, b"bound")
    sealed = Sealed(
        kid="k1", n=base64.b64encode(NONCE).decode(), ct=base64.b64encode(ciphertext).decode()
    )
    try:
        expected: object = json.loads(plain)
    except (ValueError, RecursionError):
        expected = "can't be opened"
    else:
        if not isinstance(expected, dict) or any(type(v) is not str for v in expected.values()):
            expected = "not texts by name"
    ring = KeyRing(active="k1", keys={"k1": KEY})
    if isinstance(expected, str):
        with pytest.raises(SealingError, match=expected):
            ring.open(sealed, b"bound")
    else:
        assert ring.open(sealed, b"bound") == expected
