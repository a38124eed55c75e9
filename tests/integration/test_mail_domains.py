"""Asking the DNS whether a domain takes mail: a real resolver library, a server on loopback."""

import asyncio
import time
from collections.abc import AsyncIterator

import dns.rcode
import pytest

from mailtopic_signup.adapters.mail_domains import MailDomains
from mailtopic_signup.errors import BadField
from mailtopic_signup.recipients import Recipients
from mailtopic_signup.settings import RecipientsSettings
from support.dns_server import SILENT, DnsServer, Zone, dns_server

TIMEOUT_S = 0.5
LONG_S = 10.0
ZONE: Zone = {
    "mail.example.": {"MX": ["10 mx.mail.example."]},
    "implicit.example.": {"A": ["192.0.2.1"]},
    "implicit6.example.": {"AAAA": ["2001:db8::1"]},
    "large.example.": {"MX": [f"{number} mx{number}." for number in range(2_000)]},
    "null.example.": {"MX": ["0 ."], "A": ["192.0.2.1"]},
    "empty.example.": {"TXT": ['"nothing else"']},
    "broken.example.": dns.rcode.SERVFAIL,
    "refused.example.": dns.rcode.REFUSED,
    "silent.example.": SILENT,
    "xn--e1aybc.example.": {"MX": ["10 mx.example."]},
}


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with dns_server(ZONE) as running:
        yield running


@pytest.fixture
def domains(server: DnsServer) -> MailDomains:
    return asking(server, TIMEOUT_S)


def asking(server: DnsServer, timeout_s: float) -> MailDomains:
    return MailDomains(
        RecipientsSettings(
            mx_lookup=True,
            dns_timeout_s=timeout_s,
            dns_server="127.0.0.1",
            dns_port=server.port,
        )
    )


@pytest.mark.parametrize(
    ("domain", "takes_mail"),
    [
        ("mail.example", True),
        ("implicit.example", True),
        ("implicit6.example", True),
        ("null.example", False),
        ("empty.example", False),
        ("nonesuch.example", False),
        ("broken.example", True),
        ("refused.example", True),
    ],
)
async def test_what_the_dns_says_counts_and_what_it_does_not_say_lets_in(
    domains: MailDomains,
    domain: str,
    takes_mail: bool,  # noqa: FBT001 - a case of the table
) -> None:
    assert await domains.takes_mail(domain) is takes_mail


async def test_a_silent_dns_costs_no_more_than_the_timeout_and_lets_in(
    domains: MailDomains,
) -> None:
    began_s = time.monotonic()
    assert await domains.takes_mail("silent.example") is True
    assert TIMEOUT_S <= time.monotonic() - began_s < TIMEOUT_S + 2


async def test_no_dns_at_all_lets_in() -> None:
    settings = RecipientsSettings(dns_timeout_s=TIMEOUT_S, dns_server="127.0.0.1", dns_port=1)
    assert await MailDomains(settings).takes_mail("mail.example") is True


async def test_an_answer_is_remembered(domains: MailDomains, server: DnsServer) -> None:
    for _ in range(3):
        assert await domains.takes_mail("mail.example") is True
    assert server.asked == ["mail.example. MX"]


async def test_an_answer_beyond_a_datagram_is_not_read_and_lets_in(server: DnsServer) -> None:
    connections = 0

    async def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", server.port):
        # At once, and not when the look-up's time is over.
        async with asyncio.timeout(LONG_S / 2):
            assert await asking(server, LONG_S).takes_mail("large.example") is True
    assert server.asked == ["large.example. MX"]
    assert connections == 0


async def test_an_address_is_refused_by_its_field_without_being_quoted(
    domains: MailDomains, server: DnsServer
) -> None:
    recipients = Recipients(takes_mail=domains.takes_mail)
    assert (await recipients.admit("anna@тест.example", field="email")).local == "anna"
    assert server.asked == ["xn--e1aybc.example. MX"]
    with pytest.raises(BadField) as refused:
        await recipients.admit("anna@nonesuch.example", field="email")
    assert str(refused.value) == "email: the domain after the @ takes no mail"
