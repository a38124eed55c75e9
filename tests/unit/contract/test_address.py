"""Which texts are addresses, and what their normal form is."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailtopic_contract import Address, BadAddress, parse_address


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("a@b.c", "a@b.c"),
        ("First.Last+tag@Example.COM", "First.Last+tag@example.com"),
        ("x" * 64 + "@example.test", "x" * 64 + "@example.test"),
        ('"john doe"@example.test', '"john doe"@example.test'),
        ('"john"@example.test', "john@example.test"),
        (r'"jo\hn"@example.test', "john@example.test"),
        (r'"a\"b@c"@example.test', r'"a\"b@c"@example.test'),
        ("user@пример.рф", "user@xn--e1afmkfd.xn--p1ai"),
        ("user@ｅｘａｍｐｌｅ.com", "user@example.com"),
        ("user@faß.de", "user@xn--fa-hia.de"),
        ("user@localhost", "user@localhost"),
        ("user@[192.0.2.1]", "user@[192.0.2.1]"),
        ("user@[IPv6:2001:DB8::1]", "user@[IPv6:2001:db8::1]"),
        ("!#$%&'*+/=?^_`{|}~-@b.c", "!#$%&'*+/=?^_`{|}~-@b.c"),
    ],
)
def test_an_address_has_one_normal_form(text: str, normalised: str) -> None:
    address = parse_address(text)
    assert address.normalised == normalised
    assert not address.needs_smtputf8


@pytest.mark.parametrize(
    "unseen",
    [" ", "\t", "\r\n", "\u00a0", "\u3000", "\u2028", "\u200b", "\u200e", "\u2060", "\ufeff"],
)
def test_what_shows_nothing_around_an_address_is_dropped(unseen: str) -> None:
    for text in (f"{unseen}a@b.c", f"a@b.c{unseen}", f"{unseen * 300}a@b.c{unseen * 300}"):
        assert parse_address(text) == Address("a", "b.c")


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("ａｎｎａ＋１@example.com", "anna+1@example.com"),
        ("ａｎｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ", "anna@example.com"),
        ("anna＠example。com", "anna@example.com"),
        ("＂a b＂@example.com", '"a b"@example.com'),
        ("юｚ@example.com", "юz@example.com"),
    ],
)
def test_full_width_forms_are_read_as_ascii(text: str, normalised: str) -> None:
    assert parse_address(text).normalised == normalised


@pytest.mark.parametrize("text", ["＜a@b.c＞", "a＠b＠c.d", "a＠b.c，d@e.f", "a　b@c.d"])
def test_full_width_forms_let_nothing_pass_that_ascii_does_not(text: str) -> None:
    with pytest.raises(BadAddress):
        parse_address(text)


@pytest.mark.parametrize(
    ("domain", "normalised"),
    [
        ("xn--ls8h.la", "xn--ls8h.la"),
        ("XN--LS8H.la", "xn--ls8h.la"),
        ("\U0001f4a9.la", "xn--ls8h.la"),
        ("i❤.ws", "xn--i-7iq.ws"),
        ("i❤\ufe0f.ws", "xn--i-7iq.ws"),
        ("mail.xn--i-7iq.ws", "mail.xn--i-7iq.ws"),
        ("\U0001f4a9.пример.рф", "xn--ls8h.xn--e1afmkfd.xn--p1ai"),
    ],
)
def test_domains_of_emoji_are_taken(domain: str, normalised: str) -> None:
    assert parse_address(f"a@{domain}").domain == normalised


def test_a_local_part_beyond_ascii_needs_smtputf8_and_is_normalised() -> None:
    composed, decomposed = parse_address("é@b.c"), parse_address("e\u0301@b.c")
    assert composed == decomposed
    assert composed.needs_smtputf8
    assert parse_address("юзер@пример.рф").normalised == "юзер@xn--e1afmkfd.xn--p1ai"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a",
        "a@",
        "@b.c",
        "a@b@c",
        ".a@b.c",
        "a.@b.c",
        "a..b@b.c",
        "a b@b.c",
        "<a@b.c>",
        "Bob <a@b.c>",
        "a@b.c,d@e.f",
        "a@b..c",
        "a@b.c.",
        "a@-b.c",
        "a@b_c.d",
        "a@1.2.3.4",
        "a@[1.2.3.400]",
        "a@[IPv6:fe80::1%>x]",
        "a@[::1]",
        '""@b.c',
        '"\\"@b.c',
        '"a"b"@c.d',
        "a\r\n@b.c",
        "a@b.c\r\nRCPT TO:<d@e.f>",
        "a\x00@b.c",
        "a\u2028@b.c",
        "\u202ea@b.c",
        "a\u200b@b.c",
        "\u0301a@b.c",
        "\ud800@b.c",
        "a@xn--\u00e9.c",
        "a@xn--ls8h-.c",
        "a@xn--ls8hx999999.c",
        "a@xn--.c",
        "a@-\U0001f4a9.c",
        "a@\U0001f4a9_.c",
        "a@b\u2028.c",
        "a\u00a0b@c.d",
        "a@b.c\u202e",
        "x" * 65 + "@b.c",
        "ю" * 33 + "@b.c",
        "a@" + "d" * 64 + ".c",
        "a@" + ".".join(["d" * 60] * 5),
    ],
)
def test_a_text_that_is_no_address_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(BadAddress) as refused:
        parse_address(text)
    assert refused.value.reason == "bad-address"
    assert len(text) < 4 or text not in str(refused.value)


@given(st.text(max_size=300))
@example("a@[IPv6:::1%\r\n]")
@example('"\r\n"@b.c')
@example("a@" + "ö" * 60 + ".de")
def test_whatever_passes_is_safe_between_angle_brackets(text: str) -> None:
    try:
        address = parse_address(text)
    except BadAddress:
        return
    assert address.envelope.isprintable()
    assert len(address.envelope.encode()) <= 254
    assert address.domain.isascii()
    assert parse_address(address.normalised) == address
    outside_quotes = (
        address.envelope.rpartition('"')[2] if '"' in address.local else address.normalised
    )
    assert not set("<> ,;") & set(outside_quotes)


local_parts = st.from_regex(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\.[a-z0-9]{1,10}){0,2}", fullmatch=True
)
domains = st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9]{1,10}){0,2}\.[a-z]{2,6}", fullmatch=True)


@given(local_parts, domains)
def test_every_plain_address_passes_and_the_domains_case_does_not_matter(
    local: str, domain: str
) -> None:
    lower, upper = parse_address(f"{local}@{domain}"), parse_address(f"{local}@{domain.upper()}")
    assert lower == upper == Address(local, domain)
    assert lower.partition_key == upper.partition_key


def test_the_partition_key_is_sixteen_hex_digits_of_sha256() -> None:
    # printf %s bob@example.com | sha256sum | cut -c1-16
    assert parse_address("bob@Example.com").partition_key == b"5ff860bf1190596c"


def test_neither_repr_nor_the_redacted_form_shows_the_local_part() -> None:
    address = parse_address("someone@example.com")
    assert address.redacted == "s***@example.com"
    assert "someone" not in repr(address)
