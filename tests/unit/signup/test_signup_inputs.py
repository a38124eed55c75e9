"""What people, their keyboards and their browsers send, and what programs make of HTTP."""

import json
from typing import Any

import pytest

from mailtopic_runtime import ManualClock
from mailtopic_signup.client_address import _network, client_of
from mailtopic_signup.language import known_locale
from mailtopic_signup.request_log import RequestLog
from mailtopic_signup.settings import SignupSettings
from support.signup_service import ServiceTokens, Signup, running_signup

JSON = {"content-type": "application/json"}
ROUTES = ["/", "/livez", "/readyz", "/metrics", "/openapi.json", "/static/signup.js", "/nothing"]


@pytest.mark.parametrize(
    ("given", "locale"),
    [
        ("en", "en"),
        ("en_US", "en-US"),
        ("en-US-u-fw-mon-mu-celsius", "en-US"),
        ("en_US.UTF-8@euro", "en-US"),
        ("zh-Hant-TW", "zh-Hant-TW"),
        ("  de-AT\n", "de-AT"),
        ("en-" + "x" * 5000, "en"),
        ("", None),
        ("C", None),
        ("x-private", None),
        ("русский", None),
        ("not a locale", None),
        ("../../etc", None),
        ("\x00", None),
        ("e" * 5000, None),
        ('r"', None),
    ],
)
async def test_a_locale_is_a_wish_and_no_reason_to_refuse(
    signup: Signup, tokens: ServiceTokens, given: str, locale: str | None
) -> None:
    assert known_locale(given) == locale
    body = {"email": "anna@example.com", "locale": given}
    begun = await signup.post("/v1/signups", body)
    mail = {"topic": "receipts", "to": "anna@example.com", "locale": given}
    sent = await signup.post("/v1/mails", mail, authorization=f"Bearer {tokens.billing}")
    assert (begun.status_code, sent.status_code) == (202, 202)
    assert {mail.locale for mail in await signup.mails()} == {locale or "ru"}


async def test_without_a_readable_locale_accept_language_decides(signup: Signup) -> None:
    body = json.dumps({"email": "anna@example.com", "locale": "?"})
    headers = {**JSON, "accept-language": "en-GB"}
    assert (await signup.client.post("/v1/signups", content=body, headers=headers)).is_success
    assert [mail.locale for mail in await signup.mails()] == ["en"]


@pytest.mark.parametrize(
    "written", [" {}", "{}\r\n", "\u00a0{}\u00a0", "\u200b{}", "\ufeff{}", "\u2068{}\u2069"]
)
async def test_addresses_are_trimmed(signup: Signup, tokens: ServiceTokens, written: str) -> None:
    address = written.format("ａｎｎａ@example.com")
    assert (await signup.post("/v1/signups", {"email": address})).status_code == 202
    mail = {"topic": "receipts", "to": address}
    sent = await signup.post("/v1/mails", mail, authorization=f"Bearer {tokens.billing}")
    assert sent.status_code == 202
    assert {mail.email for mail in await signup.mails()} == {"anna@example.com"}


def in_script(code: str, zero: int) -> str:
    return "".join(chr(zero + int(digit)) for digit in code)


@pytest.mark.parametrize("zero", [0x0660, 0x06F0, 0x0966, 0x09E6, 0x0E50, 0xFF10, 0x1D7CE, 0x1E950])
async def test_a_code_may_be_written_in_the_digits_of_any_script(signup: Signup, zero: int) -> None:
    challenge = await signup.begin()
    code = in_script(await signup.code(), zero)
    verified = await signup.verify(challenge, f"\u200f{code[:3]} - {code[3:]}\u00a0")
    assert verified.status_code == 200


@pytest.mark.parametrize("code", ["", "12345", "²²²²²²", "ⅠⅡⅢⅣⅤⅥ", "12345a", "1" * 11, " " * 99])
async def test_what_is_no_code_is_refused_and_costs_no_try(signup: Signup, code: str) -> None:
    challenge = await signup.begin()
    assert (await signup.verify(challenge, code)).status_code == 422
    wrong = (await signup.verify(challenge, "000000")).json()
    assert wrong["tries_left"] == 4


@pytest.mark.parametrize("path", ROUTES)
async def test_head_is_answered_as_get_without_its_body(signup: Signup, path: str) -> None:
    got, asked = await signup.client.get(path), await signup.client.head(path)
    assert (asked.status_code, asked.content) == (got.status_code, b"")
    assert asked.headers["content-type"] == got.headers["content-type"]


async def test_a_method_that_a_route_does_not_know_is_told_which_it_knows(signup: Signup) -> None:
    for method in ("PUT", "OPTIONS", "TRACE", "BREW"):
        answer = await signup.client.request(method, "/livez")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    posted = await signup.client.head("/v1/signups")
    assert (posted.status_code, posted.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; charset*" + "5" * 5000 + "*=x", 202),
        ("application/json; charset*0=utf-16; charset*1=x", 202),
        ("application/json;charset=UTF-8;", 202),
        ('Application/JSON ; charset="utf8" ; x=y', 202),
        ("application/json; charset=" + "x" * 5000, 415),
        ("application/json; charset=utf-8; charset=latin-1", 415),
        ("application/json" + " ;" * 2000 + '"', 202),
        (";" * 5000, 415),
        ("\xff\xfe", 415),
    ],
)
async def test_no_content_type_is_too_odd(signup: Signup, content_type: str, status: int) -> None:
    headers = {b"content-type": content_type.encode("latin-1")}
    body = b'{"email": "anna@example.com"}'
    answer = await signup.client.post("/v1/signups", content=body, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"transfer-encoding": "chunked", "content-length": "2"}, 400, "two-lengths"),
        ({"x-forwarded-for": "1.2.3.4," * 4000}, 431, "head-too-large"),
        ({f"x-{n}": "y" * 60 for n in range(300)}, 431, "head-too-large"),
    ],
)
async def test_a_head_that_is_too_long_or_ambiguous_ends_the_connection(
    signup: Signup, headers: dict[str, str], status: int, kind: str
) -> None:
    answer = await signup.client.post("/v1/signups", content=b"{}", headers={**JSON, **headers})
    assert answer.status_code == status
    assert answer.json()["type"].endswith(f":{kind}")
    assert answer.headers["connection"] == "close"
    too_far = await signup.client.get(f"/livez?{'x' * 20_000}")
    assert too_far.status_code == 431


def test_no_entry_of_x_forwarded_for_is_kept_that_is_too_long_for_an_address() -> None:
    before = _network.cache_info().currsize
    for number in range(100):
        long = f"{number}" + "9" * 100_000
        assert client_of("192.0.2.1", [f"198.51.100.1, {long}"], 1) == "192.0.2.1"
        assert client_of(long, [], 0) == "unknown"
    assert _network.cache_info().currsize <= before + 1
    longest = "[1111:2222:3333:4444:5555:6666:255.255.255.255]:65535"
    assert client_of(None, [longest], 1) == "1111:2222:3333:4444::/64"


async def test_the_lines_of_a_flood_are_counted_and_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = ManualClock()
    lines = RequestLog(10, clock)
    fields: dict[str, Any] = {"route": "/", "is_probe": False}
    for _ in range(1000):
        lines.write(method="GET", status=404, **fields)
        lines.write(method="POST", status=429, **fields)
    for _ in range(3):
        lines.write(method="POST", status=202, **fields)
    clock.advance(1)
    lines.write(method="GET", status=200, **fields)
    written = capsys.readouterr().out
    assert written.count("request.done") == 10 + 3 + 1
    assert "1990" in written


async def test_the_page_is_told_the_codes_length_and_validity(
    settings: SignupSettings,
) -> None:
    codes = settings.codes.model_copy(update={"length": 8, "ttl_s": 7200})
    async with running_signup(settings.model_copy(update={"codes": codes})) as signup:
        page = (await signup.client.get("/")).text
    assert '<meta name="mailtopic-code-length" content="8">' in page
    assert '<meta name="mailtopic-code-ttl-s" content="7200">' in page
