"""What SPF, DKIM and DMARC records say, and which provider a relay is of."""

import pytest

from mailtopic_cli.adapters.resolver import parse_server
from mailtopic_cli.relay.providers import provider_of
from mailtopic_cli.relay.records import RecordError, dkim_key, find_dmarc, find_spf
from mailtopic_runtime import SettingError


def test_an_spf_record_tells_what_it_includes_and_how_many_lookups_that_takes() -> None:
    spf = find_spf(
        [
            "google-site-verification=1",
            "V=SPF1 mx include:A.example ?include:b.example. ip4:192.0.2.0/24 -all",
        ]
    )
    assert spf is not None
    assert spf.includes == ("a.example", "b.example")
    assert spf.lookups == 3
    assert spf.otherwise == "-"
    assert spf.redirect is None


@pytest.mark.parametrize("text", ["v=spf10 -all", "v=spf", "spf1 -all", " v=spf1 -all"])
def test_what_only_looks_like_an_spf_record_is_none(text: str) -> None:
    assert find_spf([text]) is None


def test_a_redirect_counts_only_without_all() -> None:
    alone = find_spf(["v=spf1 redirect=_spf.example"])
    beside = find_spf(["v=spf1 redirect=_spf.example ~all"])
    assert alone is not None
    assert beside is not None
    assert (alone.redirect, beside.redirect) == ("_spf.example", None)


def test_two_spf_records_are_worse_than_one() -> None:
    with pytest.raises(RecordError, match="several"):
        find_spf(["v=spf1 -all", "v=spf1 ~all"])


@pytest.mark.parametrize(
    "text", ["v=DKIM1; k=rsa; p=AAAA BBBB", "p=AAAABBBB", "k=rsa;p = AAAABBBB ;"]
)
def test_a_dkim_record_holds_a_key(text: str) -> None:
    assert dkim_key([text]) == "AAAABBBB"


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["v=DKIM1; p="], "revoked"),
        (["v=DKIM2; p=AAAA"], "version"),
        (["something else"], "no DKIM record"),
        (["v=DKIM1; p=A"], "Base64"),
        (["p=AAAA", "p=BBBB"], "several"),
    ],
)
def test_a_dkim_record_without_a_usable_key_says_why(texts: list[str], problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        dkim_key(texts)


@pytest.mark.parametrize(
    ("texts", "policy"),
    [
        (["v=DMARC1; p=none; rua=mailto:x@example.com"], "none"),
        (["v=DMARC1;p=REJECT"], "reject"),
        (["v=spf1 -all"], None),
        ([], None),
    ],
)
def test_a_dmarc_record_has_a_policy(texts: list[str], policy: str | None) -> None:
    assert find_dmarc(texts) == policy


@pytest.mark.parametrize("texts", [["v=DMARC1; p=maybe"], ["v=DMARC1"], ["v=DMARC1; p=none"] * 2])
def test_a_dmarc_record_that_receivers_cant_use_is_told(texts: list[str]) -> None:
    with pytest.raises(RecordError):
        find_dmarc(texts)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("email-smtp.eu-central-1.amazonaws.com", "Amazon SES"),
        ("SMTP.Office365.com.", "Microsoft 365"),
        ("smtp-relay.gmail.com", "Google Workspace"),
        ("smtp.sendgrid.net", "SendGrid"),
        ("smtp.eu.mailgun.org", "Mailgun"),
        ("smtp.postmarkapp.com", "Postmark"),
        ("smtp-relay.brevo.com", "Brevo"),
        ("smtp.example.com", None),
        ("smtp.gmail.com.example.net", None),
    ],
)
def test_a_relay_is_known_by_its_host(host: str, name: str | None) -> None:
    found = provider_of(host)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
    ],
)
def test_a_resolver_is_an_address_with_or_without_a_port(
    text: str, server: tuple[str, int]
) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize(
    "text", ["", "resolver.example", "192.0.2.53:0", "192.0.2.53:dns", "192.0.2.53:70000", "[::1"]
)
def test_another_resolver_is_refused_by_name_of_the_option(text: str) -> None:
    with pytest.raises(SettingError, match="--dns-server"):
        parse_server(text)
