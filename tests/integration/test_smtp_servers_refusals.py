"""Servers that nobody here wrote refuse single mails; nobody else's mail has to do with it."""

from collections import Counter
from pathlib import Path

import pytest

from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import OutgoingMail
from support.conditions import until
from support.deliveries import WAYS, Way, raw_composer, titled_mail
from support.mail_servers.running import SERVERS, running
from support.mail_servers.server import (
    DOMAIN,
    FORBIDDEN,
    UNKNOWN,
    USER,
    Limits,
    MailServer,
    relay,
)
from support.smtp_mails import mail, mailer_to

C = ReplyClass
ALL = pytest.mark.parametrize("name", SERVERS)
THESE_WAYS = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
UNKNOWN_USER = f"{UNKNOWN}@{DOMAIN}"


async def arrived(server: MailServer, mails: list[OutgoingMail]) -> None:
    """All of these are in the mailbox, once, and nothing else."""
    await until(
        lambda: len(server.stored()) >= len(mails), "what was taken is stored", timeout_s=90
    )
    wanted = Counter(one.recipient.envelope for one in mails)
    assert Counter(one.recipient for one in server.stored()) == wanted


@ALL
@THESE_WAYS
async def test_unknown_users_among_others_bounce_and_nobody_else(
    name: str, way: Way, tmp_path: Path
) -> None:
    sent = [
        mail(UNKNOWN_USER if number % 3 == 1 else f"user{number}@{DOMAIN}") for number in range(60)
    ]
    async with running(name, tmp_path) as server:
        async with mailer_to(relay(server, max_connections=2)) as mailer:
            results = await way(mailer, sent)
        await arrived(server, [one for one in sent if one.recipient.local != UNKNOWN])
    for one, result in zip(sent, results, strict=True):
        if one.recipient.local == UNKNOWN:
            assert (result.reply_class, result.phase) == (C.HARD_BOUNCE, "rcpt")
            assert result.smtp is not None
            assert result.smtp.startswith("550")
        else:
            assert result.reply_class is C.ACCEPTED


@ALL
@THESE_WAYS
async def test_nothing_but_unknown_users_costs_no_relay_and_no_other_class(
    name: str, way: Way, tmp_path: Path
) -> None:
    # Servers count a client's errors on a connection and end it: Postfix after 20, Exim after
    # some commands that carry no mail. Such an end is nobody's bounce and nobody's protocol error.
    sent = [mail(UNKNOWN_USER) for _ in range(60)]
    async with (
        running(name, tmp_path) as server,
        mailer_to(relay(server, max_connections=1)) as mailer,
    ):
        results = await way(mailer, sent)
        assert mailer.is_available
        assert (await way(mailer, [mail(f"bob@{DOMAIN}")]))[0].reply_class is C.ACCEPTED
        await arrived(server, [mail(f"bob@{DOMAIN}")])
    classes = Counter(one.reply_class for one in results)
    assert set(classes) <= {C.HARD_BOUNCE, C.CLOSING, C.THROTTLED}
    assert classes[C.HARD_BOUNCE] >= len(sent) * 0.9


@pytest.mark.parametrize("name", ["aiosmtpd", "postfix", "exim"])
@THESE_WAYS
async def test_a_message_refused_after_its_dot_is_not_stored_and_the_next_ones_are(
    name: str, way: Way, tmp_path: Path
) -> None:
    sent = [
        titled_mail(f"user{number}@{DOMAIN}", subject=FORBIDDEN if number % 4 == 1 else "hello")
        for number in range(40)
    ]
    async with running(name, tmp_path) as server:
        settings = relay(server, max_connections=2)
        async with mailer_to(settings, composed_by=raw_composer()) as mailer:
            results = await way(mailer, sent)
        await arrived(server, [one for one in sent if one.variables["subject"] != FORBIDDEN])
    for one, result in zip(sent, results, strict=True):
        if one.variables["subject"] == FORBIDDEN:
            assert (result.phase, result.smtp) == ("body", "550 5.6.0")
            assert result.reply_class is C.CONTENT
        else:
            assert result.reply_class is C.ACCEPTED


@ALL
@THESE_WAYS
async def test_a_message_above_the_servers_limit_costs_no_traffic(
    name: str, way: Way, tmp_path: Path
) -> None:
    sent = [
        titled_mail(f"user{number}@{DOMAIN}", subject="s", code="x" * 20_000 * (number % 2))
        for number in range(20)
    ]
    async with running(name, tmp_path, Limits(max_octets=20_000)) as server:
        async with mailer_to(relay(server), composed_by=raw_composer()) as mailer:
            results = await way(mailer, sent)
        await arrived(server, sent[0::2])
    assert {one.reply_class for one in results[0::2]} == {C.ACCEPTED}
    refused = {(one.reply_class, one.phase, one.smtp) for one in results[1::2]}
    assert refused == {(C.CONTENT, "local", "552 5.3.4")}


@ALL
@THESE_WAYS
async def test_non_ascii_recipients_go_where_smtputf8_is_offered_and_bounce_elsewhere(
    name: str, way: Way, tmp_path: Path
) -> None:
    sent = [mail(f"{'иван' if number % 2 else 'ivan'}{number}@{DOMAIN}") for number in range(20)]
    async with running(name, tmp_path) as server:
        async with mailer_to(relay(server)) as mailer:
            results = await way(mailer, sent)
        offers = name != "opensmtpd"
        await arrived(server, sent if offers else sent[0::2])
    assert {one.reply_class for one in results[0::2]} == {C.ACCEPTED}
    assert {one.reply_class for one in results[1::2]} == {C.ACCEPTED if offers else C.CONTENT}


# Postfix checks logins by other programs, and OpenSMTPD over TLS only.
LOGINS = pytest.mark.parametrize("name", ["aiosmtpd", "exim"])


@LOGINS
@THESE_WAYS
async def test_a_login_opens_a_server_that_wants_one(name: str, way: Way, tmp_path: Path) -> None:
    sent = [mail(f"user{number}@{DOMAIN}") for number in range(20)]
    async with running(name, tmp_path, Limits(needs_login=True)) as server:
        async with mailer_to(relay(server, logs_in=True)) as mailer:
            results = await way(mailer, sent)
        await arrived(server, sent)
    assert {one.reply_class for one in results} == {C.ACCEPTED}


@LOGINS
@pytest.mark.parametrize("logs_in", [True, False])
@THESE_WAYS
async def test_a_wrong_or_missing_login_blames_the_relay_and_no_mail(
    name: str, way: Way, tmp_path: Path, *, logs_in: bool
) -> None:
    async with running(name, tmp_path, Limits(needs_login=True)) as server:
        settings = relay(server, logs_in=logs_in, password="wrong")
        async with mailer_to(settings) as mailer:
            results = await way(mailer, [mail(f"user{number}@{DOMAIN}") for number in range(10)])
            assert not mailer.is_available
        assert server.stored() == []
    assert {one.reply_class for one in results} == {C.AUTH}
    assert {one.phase for one in results} == {"auth" if logs_in else "mail"}
    assert USER not in repr(results)
