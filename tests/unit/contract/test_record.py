"""The record's value: what is understood, what is refused, what is kept."""

import contextlib
import json
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_contract import (
    MAX_VALUE_BYTES,
    KeyRing,
    LegacyDefaults,
    MailRecord,
    MailSeal,
    RecordError,
    RecordOrigin,
    SealingError,
    decode_record,
    new_record,
    open_variables,
)

GOLDEN = Path(__file__).parent / "golden"
ORIGIN = RecordOrigin(topic="mails", partition=3, offset=42, timestamp_ms=1_790_000_000_000)
LEGACY = LegacyDefaults(locale="ru", max_age_ms=600_000)
SEAL = MailSeal(KeyRing(active="k1", keys={"k1": bytes(range(32))}), "mails")
ID = UUID("11111111-2222-4333-8444-555555555555")


def decode(value: bytes | None) -> MailRecord:
    return decode_record(value, origin=ORIGIN, legacy=LEGACY)


def record(seal: MailSeal | None = None) -> MailRecord:
    return new_record(
        email="Someone@Example.com",
        variables={"code": "123456"},
        purpose="signup",
        locale="en",
        accepted_at_ms=1_790_000_000_000,
        expires_at_ms=1_790_000_600_000,
        seal=seal,
        mail_id=ID,
    )


def test_a_record_is_written_as_the_golden_file_says() -> None:
    assert record().encode() + b"\n" == (GOLDEN / "record.json").read_bytes()


def test_a_sealed_record_of_the_golden_file_can_be_opened() -> None:
    sealed = decode((GOLDEN / "record-sealed.json").read_bytes())
    assert open_variables(sealed, SEAL) == {"code": "123456"}
    assert sealed.encode() + b"\n" == (GOLDEN / "record-sealed.json").read_bytes()


def test_the_original_payload_becomes_a_mail_whose_id_depends_on_its_place_and_time() -> None:
    value = (GOLDEN / "original-payload.json").read_bytes()
    first, second = decode(value), decode(value)
    assert first == second
    assert str(first.id) == "ad65aa2f-dc17-5287-b7bd-a225341b37d9"
    assert str(ORIGIN.former_id) == "02505c26-c56e-5dc6-859b-939ed12db45a"
    assert first.variables == {"code": "123456"}
    assert first.address.normalised == "someone@example.com"
    assert (first.accepted_at, first.expires_at) == (1_790_000_000_000, 1_790_000_600_000)
    assert (first.locale, first.purpose) == ("ru", "unspecified")
    others = [ORIGIN._replace(offset=43), ORIGIN._replace(timestamp_ms=ORIGIN.timestamp_ms + 1)]
    ids = {decode_record(value, origin=other, legacy=LEGACY).id for other in others}
    assert len(ids | {first.id}) == 3


def test_a_later_attempt_of_the_original_payload_keeps_its_id() -> None:
    value = (GOLDEN / "original-payload.json").read_bytes()
    assert decode_record(value, origin=ORIGIN, legacy=LEGACY, known_id=ID).id == ID
    ours = record().encode()
    assert decode_record(ours, origin=ORIGIN, legacy=LEGACY, known_id=ORIGIN.former_id).id == ID


def test_a_record_time_in_seconds_is_taken_as_seconds() -> None:
    value = (GOLDEN / "original-payload.json").read_bytes()
    origin = ORIGIN._replace(timestamp_ms=1_790_000_000)
    mail = decode_record(value, origin=origin, legacy=LEGACY)
    assert (mail.accepted_at, mail.expires_at) == (1_790_000_000_000, 1_790_000_600_000)


@pytest.mark.parametrize("code", ['""', '" "', '"\\u3000"', '"\\t\\n"'])
def test_an_empty_code_is_refused(code: str) -> None:
    with pytest.raises(RecordError, match="code: is empty"):
        decode(f'{{"email":"a@b.c","code":{code}}}'.encode())


def test_a_byte_order_mark_before_the_json_is_passed_over() -> None:
    assert decode(b'\xef\xbb\xbf{"email":"a@b.c","code":"1234"}').variables == {"code": "1234"}
    assert decode(b"\xef\xbb\xbf" + record(SEAL).encode()).sealed is not None
    with pytest.raises(RecordError):
        decode(b"\xef\xbb\xbf" * 2 + b"{}")


def test_the_original_payloads_code_may_be_a_number() -> None:
    assert decode(b'{"email":"a@b.c","code":123456}').variables == {"code": "123456"}


names = st.from_regex(r"[a-z][a-z0-9_-]{0,10}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
times = st.integers(0, 253_402_300_799_999)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(
    variables=st.dictionaries(names, texts, max_size=5),
    accepted_at_ms=times,
    expires_at_ms=times,
    seal=st.sampled_from([None, SEAL]),
)
def test_what_is_encoded_is_decoded(
    variables: dict[str, str], accepted_at_ms: int, expires_at_ms: int, seal: MailSeal | None
) -> None:
    mail = new_record(
        email="a@b.c",
        variables=variables,
        purpose="signup",
        locale="ru-RU",
        accepted_at_ms=accepted_at_ms,
        expires_at_ms=expires_at_ms,
        seal=seal,
    )
    again = decode(mail.encode())
    assert again == mail
    assert open_variables(again, seal) == variables


@given(st.dictionaries(texts.map(lambda text: f"x-{text}"), json_values, max_size=4))
def test_unknown_fields_are_kept(unknown: dict[str, object]) -> None:
    value = json.dumps(json.loads(record().encode()) | unknown).encode()
    again = json.loads(decode(value).encode())
    assert {name: again[name] for name in unknown if unknown[name] is not None} == {
        name: value for name, value in unknown.items() if value is not None
    }


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"x" * (MAX_VALUE_BYTES + 1), "too-large"),
        (b"\xff\xfe", "bad-json"),
        (b"not json", "bad-json"),
        (b"[]", "bad-json"),
        (b"[" * 200_000, "bad-json"),
        (b'{"a":' * 30_000, "bad-json"),
        (b'{"email":"a@b.c","code":NaN}', "bad-json"),
        (b'{"email":"a@b.c","code":"1","x":1e999}', "bad-json"),
        (b'{"email":"a@b.c","code":"1","x":"\\ud800"}', "bad-json"),
        (b'{"email":"a@b.c","code":' + b"9" * 5000 + b"}", "bad-json"),
        (b"{}", "unknown-version"),
        (b'{"v":2}', "unknown-version"),
        (b'{"v":true}', "unknown-version"),
        (b'{"v":"1"}', "unknown-version"),
        (b'{"v":1}', "bad-field"),
        (b'{"code":"123456"}', "bad-field"),
        (b'{"email":null,"code":"1"}', "bad-field"),
        (b'{"email":5,"code":"1"}', "bad-field"),
        (b'{"email":"a@b.c","code":true}', "bad-field"),
        (b'{"email":"a@b.c","code":["1"]}', "bad-field"),
        (b'{"email":"a@b.c\\r\\nBcc: d@e.f","code":"1"}', "bad-address"),
        (b'{"email":"nobody","code":"1"}', "bad-address"),
    ],
)
def test_a_record_that_cannot_be_understood_is_refused_with_a_reason(
    value: bytes | None, reason: str
) -> None:
    with pytest.raises(RecordError) as refused:
        decode(value)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"},
        {"id": 5},
        {"purpose": "Sign Up"},
        {"purpose": ""},
        {"locale": "русский"},
        {"locale": "ru\r\n"},
        {"variables": None},
        {"variables": {"code": 123456}},
        {"variables": {"Co de": "1"}},
        {"sealed": {"kid": "k1", "n": "", "ct": ""}},
        {"accepted_at": -1},
        {"accepted_at": "1790000000000"},
        {"accepted_at": 1.5},
        {"expires_at": 10**18},
        {"expires_at": True},
    ],
)
def test_a_field_of_the_wrong_kind_is_named_without_its_content(change: dict[str, object]) -> None:
    value = json.dumps(json.loads(record().encode()) | change).encode()
    with pytest.raises(RecordError) as refused:
        decode(value)
    assert refused.value.reason == "bad-field"
    assert str(refused.value).split(":")[0] in {*change, "record"}
    assert "123456" not in str(refused.value)


@given(st.binary(max_size=400) | json_values.map(lambda value: json.dumps(value).encode()))
def test_hostile_bytes_raise_nothing_but_the_documented_error(value: bytes) -> None:
    with pytest.raises(RecordError) as refused:
        decode(value)
    assert refused.value.reason in {"empty", "bad-json", "unknown-version"}


@given(
    st.fixed_dictionaries(
        {"v": st.sampled_from([1, 1.0, "1", True])},
        optional=dict.fromkeys(
            ("id", "email", "purpose", "locale", "variables", "sealed", "expires_at"), json_values
        ),
    )
)
def test_hostile_fields_raise_nothing_but_the_documented_error(data: dict[str, object]) -> None:
    base = json.loads(record().encode())
    with contextlib.suppress(RecordError):
        decode(json.dumps(base | data).encode()).encode()


def test_without_a_key_ring_sealed_variables_stay_closed() -> None:
    with pytest.raises(SealingError):
        open_variables(record(SEAL), None)


def test_a_sealed_record_shows_the_code_nowhere() -> None:
    mail = record(SEAL)
    for text in (mail.encode().decode(), repr(mail), str(mail)):
        assert "123456" not in text
    assert "omeone" not in repr(mail)
