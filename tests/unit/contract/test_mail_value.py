"""A mail's value written at once is what it is by way of the model."""

import json
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_contract import (
    KeyRing,
    LegacyDefaults,
    MailSeal,
    RecordError,
    RecordOrigin,
    decode_record,
    encode_mail,
    new_record,
    open_variables,
    parse_address,
)

SEAL = MailSeal(KeyRing.generate(), "mails")
ADDRESSES = (
    "anna@example.com",
    '"a\\"b c"@example.com',
    "анна@пример.рф",
    "x/y{}'@example.com",
    "a@[IPv6:::1]",
)


@given(
    email=st.sampled_from(ADDRESSES),
    variables=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    locale=st.sampled_from(["ru", "en-GB", "zh-Hant-TW"]),
    accepted_at=st.integers(0, 2**47),
)
def test_both_ways_write_the_same(
    email: str, variables: dict[str, str], locale: str, accepted_at: int
) -> None:
    address, mail_id = parse_address(email), uuid4()
    value = encode_mail(
        address,
        variables,
        mail_id=mail_id,
        purpose="signup",
        locale=locale,
        accepted_at_ms=accepted_at,
        expires_at_ms=accepted_at + 1,
        seal=SEAL,
    )
    record = decode_record(
        value, origin=RecordOrigin("mails", 0, 0, 0), legacy=LegacyDefaults("ru", 1)
    )
    assert record.encode() == value
    assert open_variables(record, SEAL) == variables
    by_model = new_record(
        email=email,
        variables=variables,
        purpose="signup",
        locale=locale,
        accepted_at_ms=accepted_at,
        expires_at_ms=accepted_at + 1,
        seal=SEAL,
        mail_id=mail_id,
    )
    # A nonce is never the same twice.
    assert record.model_copy(update={"sealed": by_model.sealed}).encode() == by_model.encode()


def test_without_a_key_ring_variables_are_readable() -> None:
    value = encode_mail(
        parse_address("anna@example.com"),
        {"code": "123456"},
        mail_id=uuid4(),
        purpose="signup",
        locale="ru",
        accepted_at_ms=1,
        expires_at_ms=2,
        seal=None,
    )
    assert json.loads(value)["variables"] == {"code": "123456"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"purpose": 'x"y'},
        {"purpose": "signup\n"},
        {"locale": "ru\n"},
        {"locale": 'r"'},
        {"accepted_at_ms": -1},
        {"expires_at_ms": 2**60},
        {"variables": {'c"': "1"}},
        {"variables": {"code": "\ud800"}},
    ],
)
def test_what_contradicts_the_contract_is_refused(wrong: dict[str, object]) -> None:
    usual: dict[str, object] = {
        "variables": {},
        "mail_id": uuid4(),
        "purpose": "signup",
        "locale": "ru",
        "accepted_at_ms": 1,
        "expires_at_ms": 2,
        "seal": SEAL,
    }
    with pytest.raises(RecordError):
        encode_mail(parse_address("anna@example.com"), **(usual | wrong))  # type: ignore[arg-type]
