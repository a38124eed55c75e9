"""The record's headers."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_contract import (
    ErrorInfo,
    HeaderError,
    MailHeaders,
    RecordOrigin,
    TraceContext,
    decode_headers,
)

FULL = MailHeaders(
    mail_id=UUID("11111111-2222-4333-8444-555555555555"),
    attempt=3,
    not_before_ms=1_790_000_060_000,
    first_failure_at_ms=1_790_000_000_500,
    origin=RecordOrigin("mails", 2, 77, 1_790_000_000_000),
    error=ErrorInfo("greylisted", "SmtpReply", "try again later", "451 4.7.1"),
    trace=TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "rojo=00f067"),
    others=(("x-team", b"\xff\x00"),),
)


def test_headers_are_written_as_ascii_text_under_their_settled_names() -> None:
    assert FULL.encode() == [
        ("x-team", b"\xff\x00"),
        ("mt-id", b"11111111-2222-4333-8444-555555555555"),
        ("mt-attempt", b"3"),
        ("mt-not-before", b"1790000060000"),
        ("mt-first-failure-at", b"1790000000500"),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", b"rojo=00f067"),
        ("mt-origin-topic", b"mails"),
        ("mt-origin-partition", b"2"),
        ("mt-origin-offset", b"77"),
        ("mt-origin-timestamp", b"1790000000000"),
        ("mt-error-class", b"greylisted"),
        ("mt-error-type", b"SmtpReply"),
        ("mt-error-message", b"try again later"),
        ("mt-error-smtp", b"451 4.7.1"),
    ]


def test_what_is_encoded_is_decoded() -> None:
    assert decode_headers(FULL.encode()) == FULL
    assert decode_headers([]) == MailHeaders()


def test_an_errors_text_loses_addresses_and_codes_and_is_cut() -> None:
    text = "no such user <someone@example.com>, code 123456, 654321. " + "x" * 600 + "ж\r\nmt-id: 5"
    encoded = dict(MailHeaders(error=ErrorInfo("bug", "T", text)).encode())["mt-error-message"]
    assert b"example.com" not in encoded
    assert b"123456" not in encoded
    assert b"654321" not in encoded
    assert b"\n" not in encoded
    assert len(encoded) == 512
    assert encoded.isascii()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mt-attempt", b"0"),
        ("mt-attempt", b"-1"),
        ("mt-attempt", b"many"),
        ("mt-attempt", b"9" * 30),
        ("mt-attempt", b"\xd9\xa3"),
        ("mt-attempt", b"1\n"),
        ("mt-attempt", None),
        ("mt-not-before", b"99999999999999999"),
        ("mt-id", b"5"),
        ("mt-origin-partition", b"1"),
        ("mt-error-class", "ж".encode()),
        ("mt-unheard-of", b"\xff"),
    ],
)
def test_a_header_that_breaks_the_contract_is_refused(name: str, value: bytes | None) -> None:
    with pytest.raises(HeaderError) as refused:
        decode_headers([(name, value)])
    assert refused.value.reason == "bad-header"


names = st.sampled_from([name for name, _ in FULL.encode()]) | st.text(max_size=10)


@given(st.lists(st.tuples(names, st.none() | st.binary(max_size=30)), max_size=8))
def test_hostile_headers_raise_nothing_but_the_documented_error(
    headers: list[tuple[str, bytes | None]],
) -> None:
    try:
        decoded = decode_headers(headers)
    except HeaderError:
        return
    assert decode_headers(decoded.encode()) == decoded
