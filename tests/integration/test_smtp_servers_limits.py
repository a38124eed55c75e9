"""Servers that nobody here wrote run out of patience, or out of power; no mail is lost."""

import asyncio
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from mailtopic_sender.adapters.smtp_settings import SmtpTimeouts
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import OutgoingMail
from support.conditions import until
from support.deliveries import WAYS, Way
from support.mail_servers.running import SERVERS, running
from support.mail_servers.server import DOMAIN, Limits, MailServer, relay
from support.smtp_mails import mail, mailer_to

C = ReplyClass
ALL = pytest.mark.parametrize("name", SERVERS)
THESE_WAYS = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def mails_to(names: str, count: int) -> list[OutgoingMail]:
    return [mail(f"{names}{number}@{DOMAIN}") for number in range(count)]


def recipients(server: MailServer) -> set[str]:
    """Whose mails are in the mailbox. A delivery that was killed may leave a nameless piece."""
    return {one.recipient for one in server.stored()} - {""}


@pytest.mark.parametrize("name", ["postfix", "exim"])
@THESE_WAYS
async def test_a_server_that_bears_two_connections_gets_all_mails_over_them(
    name: str, way: Way, tmp_path: Path
) -> None:
    sent = mails_to("user", 100)
    async with (
        running(name, tmp_path, Limits(max_connections=2)) as server,
        mailer_to(relay(server, max_connections=8)) as mailer,
    ):
        # The first connection is there before the others are refused.
        first = await way(mailer, sent[:1])
        results = first + await way(mailer, sent[1:])
        assert mailer.is_available
        assert Counter(one.reply_class for one in results) == {C.ACCEPTED: len(sent)}
        await until(
            lambda: len(server.stored()) >= len(sent), "all are in the mailbox", timeout_s=90
        )
        stored = Counter(one.recipient for one in server.stored())
    assert stored == Counter(one.recipient.envelope for one in sent)


# Exim hangs up with 421, OpenSMTPD refuses the eighth with 452.
@pytest.mark.parametrize("name", ["exim", "opensmtpd"])
@THESE_WAYS
async def test_a_server_that_takes_seven_mails_a_connection_gets_all(
    name: str, way: Way, tmp_path: Path
) -> None:
    sent = mails_to("user", 60)
    async with (
        running(name, tmp_path, Limits(mails_per_connection=7)) as server,
        mailer_to(relay(server, max_connections=2)) as mailer,
    ):
        results = await way(mailer, sent)
        assert Counter(one.reply_class for one in results) == {C.ACCEPTED: len(sent)}
        await until(
            lambda: len(server.stored()) >= len(sent), "all are in the mailbox", timeout_s=90
        )
        stored = Counter(one.recipient for one in server.stored())
    assert stored == Counter(one.recipient.envelope for one in sent)


@ALL
@THESE_WAYS
async def test_connections_that_died_with_their_server_are_noticed_and_cost_nothing(
    name: str, way: Way, tmp_path: Path
) -> None:
    before, after = mails_to("before", 30), mails_to("after", 30)
    async with running(name, tmp_path) as server, mailer_to(relay(server)) as mailer:
        results = await way(mailer, before)
        # What a server has taken is its own to keep, so it has put that away when it is killed.
        stored_before = {one.recipient.envelope for one in before}
        await until(lambda: stored_before <= recipients(server), "the first are in the mailbox")
        await server.kill()
        await server.start()
        results += await way(mailer, after)
        wanted = {one.recipient.envelope for one in before + after}
        assert Counter(one.reply_class for one in results) == {C.ACCEPTED: len(wanted)}
        await until(lambda: wanted <= recipients(server), "all are in the mailbox", timeout_s=90)
        stored = Counter(one.recipient for one in server.stored())
        assert recipients(server) == wanted
    # A server that is killed while it delivers a mail does so once more, but only such a mail.
    assert {stored[one.recipient.envelope] for one in after} == {1}


@ALL
@THESE_WAYS
async def test_a_server_killed_in_the_midst_leaves_no_result_that_is_not_true(
    name: str, way: Way, tmp_path: Path
) -> None:
    sent = mails_to("user", 300)
    patience = SmtpTimeouts(connect_s=5, greeting_s=5, command_s=5, envelope_s=5, dot_s=5)
    async with running(name, tmp_path) as server:
        async with mailer_to(relay(server, timeouts=patience)) as mailer:
            sending = asyncio.create_task(way(mailer, sent))
            await until(lambda: len(server.stored()) > 20, "it has taken some")
            await server.kill()
            results = await sending
        await server.start()
        by_class: defaultdict[ReplyClass, set[str]] = defaultdict(set)
        for one, result in zip(sent, results, strict=True):
            by_class[result.reply_class].add(one.recipient.envelope)
        await until(
            lambda: by_class[C.ACCEPTED] <= recipients(server),
            "all that was accepted is in the mailbox",
            timeout_s=90,
        )
        # Sets: a server that is killed while it delivers a mail does so once more.
        stored = recipients(server)
    assert stored <= by_class[C.ACCEPTED] | by_class[C.UNKNOWN]
    assert set(by_class) <= {C.ACCEPTED, C.UNKNOWN, C.CLOSING, C.TRANSPORT}
    # It was killed in the midst of them.
    assert len(sent) > len(by_class[C.ACCEPTED]) > 20
