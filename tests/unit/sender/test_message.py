import email
import email.policy
import random
import re
from collections.abc import Mapping
from email.header import decode_header, make_header
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from html import escape
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailtopic_contract import Address, parse_address
from mailtopic_sender.adapters.smtp_session import dot_stuffed
from mailtopic_sender.domain.envelope import EnvelopeError, checked_envelope
from mailtopic_sender.domain.header_fields import encode_unstructured
from mailtopic_sender.domain.message import Message, MessageComposer
from mailtopic_sender.domain.templates import Template, TemplateError, TemplateSet

MAIL_ID = UUID("11112222-3333-4444-8555-666677778888")
SENDER = parse_address("no-reply@example.com")
HOSTILE = st.one_of(
    st.text(max_size=300),
    st.sampled_from(
        ["\r\nBcc: eve@example.com", "\r\n.\r\n", "<script>", "=?utf-8?q?x?=", "--=_1111", "\ud800"]
    ),
)


def compose(
    *,
    templates: TemplateSet | None = None,
    name: str = "MailTopic",
    recipient: Address | None = None,
    code: str = "123456",
    variables: Mapping[str, str] | None = None,
    locale: str = "ru",
) -> Message:
    composer = MessageComposer(templates or TemplateSet(), from_name=name, from_address=SENDER)
    return composer.compose(
        mail_id=MAIL_ID,
        recipient=recipient or parse_address("bob@example.org"),
        purpose="signup",
        locale=locale,
        variables=variables or {"code": code},
        accepted_at_ms=1_790_000_000_000,
    )


def parsed(message: Message) -> EmailMessage:
    return email.message_from_bytes(message.content, policy=email.policy.default)


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    text = part.get_content()
    assert isinstance(text, str)
    return text


def addresses(message: EmailMessage, name: str) -> list[tuple[str, str]]:
    header = message[name]
    assert isinstance(header, AddressHeader)
    return [(address.display_name, address.addr_spec) for address in header.addresses]


def test_the_original_mail_arrives_word_for_word() -> None:
    message = parsed(compose())
    assert message["Subject"] == "Ваш одноразовый код"
    assert body(message, "plain") == "Ваш код: 123456"
    assert body(message, "html") == "<p>Ваш код: <b>123456</b></p>"


def test_the_english_mail_stands_beside_it() -> None:
    message = parsed(compose(locale="en-GB"))
    assert message["Subject"] == "Your one-time code"
    assert body(message, "plain") == "Your code: 123456"
    assert body(message, "html") == "<p>Your code: <b>123456</b></p>"
    assert message["Content-Language"] == "en"


def test_the_header_says_who_when_and_that_nobody_needs_to_answer() -> None:
    message = parsed(compose(recipient=parse_address("bob@пример.рф")))
    assert addresses(message, "From") == [("MailTopic", "no-reply@example.com")]
    assert addresses(message, "To") == [("", "bob@xn--e1afmkfd.xn--p1ai")]
    assert message["Date"].datetime.timestamp() == 1_790_000_000
    assert message["Message-ID"] == f"<{MAIL_ID}@example.com>"
    assert message["MIME-Version"] == "1.0"
    assert message["Content-Language"] == "ru"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "All"
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == [
        "text/plain",
        "text/html",
    ]


def test_the_same_mail_is_the_same_bytes_from_another_process() -> None:
    assert compose().content == compose().content
    assert compose().content != compose(code="654321").content


@settings(deadline=None)
@given(code=HOSTILE, name=HOSTILE, subject=HOSTILE)
def test_whatever_the_values_the_parser_finds_what_was_meant(
    code: str, name: str, subject: str
) -> None:
    templates = TemplateSet({("signup", "ru"): Template("{code}!", "T: {code}", "<p>{code}</p>")})
    composed = compose(templates=templates, name=name, code=code + subject)
    message = parsed(composed)
    meant = (code + subject).encode("utf-8", "replace").decode()
    lines = meant.replace("\r\n", "\n").replace("\r", "\n")
    escaped = (
        lines.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace('"', "&quot;")
        .replace("'", "&#x27;")
    )
    assert body(message, "plain").replace("\r\n", "\n") == f"T: {lines}"
    assert body(message, "html").replace("\r\n", "\n") == f"<p>{escaped}</p>"
    assert [spec for _, spec in addresses(message, "From")] == ["no-reply@example.com"]
    assert [spec for _, spec in addresses(message, "To")] == ["bob@example.org"]
    assert message["Bcc"] is None
    assert_safe_bytes(composed.content)


PIECES = (
    *("{code}", "{name}", "{code}{name}", "{ code}", "\r\nBcc: eve@example.com", "--=_1111"),
    *(
        ".",
        "..",
        " ",
        "\t ",
        "=",
        "=_",
        "\0",
        "🏴‍☠️",
        "\ud800",
        "From ",
        "<script>",
        "=?utf-8?q?x?=",
    ),
    *("\r", "\n", "\r\n", "\r\n.\r\n", " \n", "\u2028", "a" * 57, "x. " * 60, "я" * 500, "é"),
)
VALUES = ("123456", "", "1", "x" * 16, "x" * 17, ".", " ", "\n", "a\r", "&<>", *PIECES)


def one_way(text: str) -> str:
    """Line ends in one form, and what UTF-8 can't say replaced."""
    octets = text.encode("utf-8", "replace").decode()
    return octets.replace("\r\n", "\n").replace("\r", "\n")


def filled(template: str, **variables: str) -> str:
    """The plain way, for comparison."""
    pieces = re.split(r"\{(code|name)\}", template)
    pieces[1::2] = [variables[name] for name in pieces[1::2]]
    return "".join(map(one_way, pieces))


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_template_the_parser_finds_what_was_meant(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - which mails are tried is no secret
    for _ in range(100):
        subject, text, html = (
            "".join(chance.choices(PIECES, k=chance.randrange(9))) for _ in range(3)
        )
        values = {"code": chance.choice(VALUES), "name": chance.choice(VALUES)}
        templates = TemplateSet({("signup", "ru"): Template(subject, text, html)})
        composed = compose(templates=templates, variables=values)
        assert_safe_bytes(composed.content)
        message = parsed(composed)
        assert one_way(body(message, "plain")) == filled(text, **values)
        quoted = {name: escape(value) for name, value in values.items()}
        assert one_way(body(message, "html")) == filled(html, **quoted)
        assert message.defects == []
        assert message.keys() == parsed(compose()).keys()


def assert_safe_bytes(content: bytes) -> None:
    assert content.isascii()
    assert dot_stuffed(content) == content
    assert content.endswith(b"\r\n")
    lines = content.split(b"\r\n")
    assert all(len(line) <= 76 for line in lines)
    assert not any(line.startswith(b".") for line in lines)
    in_body = lines[lines.index(b"") :]
    assert not any(line.endswith((b" ", b"\t")) for line in in_body)
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")


@settings(deadline=None)
@given(
    text=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=200)
)
def test_a_subject_survives_its_encoding(text: str) -> None:
    raw = b"Subject: " + encode_unstructured(text, used=len("Subject: ")) + b"\r\n\r\n"
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert message["Subject"].rstrip() == text.strip() or message["Subject"] == text
    assert all(len(line) <= 76 for line in raw.split(b"\r\n"))


def test_a_subject_can_hold_the_code() -> None:
    templates = TemplateSet({("signup", "ru"): Template("{code}", "T", "H")})
    composer = MessageComposer(templates, from_name="", from_address=SENDER)
    for code in ("111111", "222222"):
        message = composer.compose(
            mail_id=MAIL_ID,
            recipient=SENDER,
            purpose="signup",
            locale="ru",
            variables={"code": code},
            accepted_at_ms=0,
        )
        assert parsed(message)["Subject"] == code


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Иван", "Иван"),
        ("ООО «Почта», отдел", "ООО «Почта», отдел"),
        ('The "Mail" Topic, Inc.', 'The "Mail" Topic, Inc.'),
        ("A\r\nBcc: b@c.d", "A Bcc: b@c.d"),
        ("", ""),
    ],
)
def test_a_sender_may_be_called_anything(name: str, shown: str) -> None:
    assert addresses(parsed(compose(name=name)), "From") == [(shown, "no-reply@example.com")]


@pytest.mark.parametrize("name", ["x" * 200, "Очень длинное имя отправителя " * 5])
def test_a_long_name_is_cut_into_words_and_joined_again(name: str) -> None:
    # The parser of email.policy.default puts a space between two words of a name; decode_header
    # joins them as RFC 2047 §6.2 says.
    raw = email.message_from_bytes(compose(name=name).content)["From"]
    assert str(make_header(decode_header(raw))).startswith(name.strip())


@pytest.mark.parametrize(
    "text",
    ["BOB+tag@example.org", '"bob smith"@example.org', '"a,b<c>"@example.org', "x" * 64 + "@e.org"],
)
def test_awkward_recipients_stay_one_recipient(text: str) -> None:
    try:
        recipient = parse_address(text)
    except ValueError:
        pytest.skip("the contract refuses it")
    if "<" in text:
        with pytest.raises(EnvelopeError):
            compose(recipient=recipient)
        return
    assert len(addresses(parsed(compose(recipient=recipient)), "To")) == 1


def test_a_non_ascii_local_part_needs_smtputf8() -> None:
    message = compose(recipient=parse_address("иван@example.org"))
    assert message.needs_smtputf8
    assert message.recipient == "иван@example.org"
    assert "To: иван@example.org\r\n".encode() in message.content
    assert not compose().needs_smtputf8


@pytest.mark.parametrize(
    "address",
    [
        Address("bob\r\nRCPT TO:<eve", "example.org"),
        Address("bob", "example.org\r\nDATA"),
        Address("bob\0", "example.org"),
        Address("bob", "exam ple.org"),
        Address("bob smith", "example.org"),
        Address("bob>", "example.org"),
        Address("bob@x", "example.org"),
        Address('"bob"smith"', "example.org"),
        Address("bob", "пример.рф"),
        Address("", "example.org"),
        Address("bob", ""),
        Address("b" * 250, "example.org"),
        Address("\ud800", "example.org"),
        Address("bob\u2028", "example.org"),
    ],
)
def test_an_address_that_could_inject_is_refused_whoever_made_it(address: Address) -> None:
    with pytest.raises(EnvelopeError):
        checked_envelope(address)


def test_a_missing_variable_and_an_impossible_time_are_template_errors() -> None:
    composer = MessageComposer(TemplateSet(), from_name="", from_address=SENDER)
    for variables, when in (({}, 0), ({"code": "1"}, 10**18)):
        with pytest.raises(TemplateError):
            composer.compose(
                mail_id=MAIL_ID,
                recipient=SENDER,
                purpose="signup",
                locale="ru",
                variables=variables,
                accepted_at_ms=when,
            )


def test_a_message_shows_no_recipient_and_no_content() -> None:
    shown = repr(compose())
    assert "bob" not in shown
    assert "Content" not in shown


def test_a_sender_must_be_ascii() -> None:
    with pytest.raises(EnvelopeError):
        MessageComposer(TemplateSet(), from_name="", from_address=parse_address("иван@example.org"))
