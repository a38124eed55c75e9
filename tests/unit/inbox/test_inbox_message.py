"""What the inbox shows of a mail's bytes, however broken they are."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_inbox.message import ReceivedMail, detail_of, summary_of


def received(raw: bytes) -> ReceivedMail:
    return ReceivedMail("id1", 1_790_000_000_123, "a@example.com", ("b@example.com",), raw)


def test_the_time_is_written_as_rfc_3339() -> None:
    assert summary_of(received(b""))["Created"] == "2026-09-21T14:13:20.123Z"


def test_a_mail_without_headers_is_shown_by_its_envelope() -> None:
    shown = summary_of(received(b"\r\nhello"))
    assert shown["From"] == {"Name": "", "Address": "a@example.com"}
    assert shown["To"] == [{"Name": "", "Address": "b@example.com"}]
    assert shown["Snippet"] == "hello"


def test_encoded_words_and_raw_utf_8_are_both_read() -> None:
    raw = "Subject: =?utf-8?b?0JrQvtC0?=\r\nTo: Боря <боря@example.com>\r\n\r\n".encode()
    shown = summary_of(received(raw))
    assert shown["Subject"] == "Код"
    assert shown["To"] == [{"Name": "Боря", "Address": "боря@example.com"}]


def test_a_mail_of_html_alone_has_a_snippet_without_tags() -> None:
    raw = b"Content-Type: text/html\r\n\r\n<style>p{}</style><p>Your <b>code</b></p>"
    assert summary_of(received(raw))["Snippet"] == "Your code"


@pytest.mark.parametrize(
    "raw",
    [
        b"Date: yesterday\r\n\r\n",
        b"To: <<>>,,;\xff\r\nSubject: =?utf-8?b?/w==?=\r\n\r\n\xff",
        b"Content-Type: text/plain; charset=no-such\r\n\r\nhello",
        b"Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n",
        b"Content-Transfer-Encoding: base64\r\n\r\n!!!",
    ],
)
def test_broken_mails_are_shown_as_far_as_possible(raw: bytes) -> None:
    shown = detail_of(received(raw))
    assert shown["Size"] == len(raw)
    assert shown["Date"] == "2026-09-21T14:13:20.123Z"


@given(st.binary(max_size=400))
def test_no_bytes_make_it_fail(raw: bytes) -> None:
    assert json.loads(json.dumps([summary_of(received(raw)), detail_of(received(raw))]))
