"""Transactions, pipelined and in lock-step, with a relay that refuses, garbles and hangs up."""

import asyncio

import pytest

from mailtopic_contract import Address
from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security, SmtpTimeouts
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.domain.templates import Template, TemplateError
from support.conditions import until
from support.smtp_mails import mail, mailer_to
from support.smtp_relay import Fault, SmtpRelay

C = ReplyClass
PIPELINING = pytest.mark.parametrize("pipelining", [True, False])


def settings(
    relay: SmtpRelay, *, name: str = "default", timeouts: SmtpTimeouts | None = None
) -> RelaySettings:
    return RelaySettings(
        relay.host,
        relay.port,
        name=name,
        security=Security.NONE,
        timeouts=timeouts or SmtpTimeouts(),
    )


@PIPELINING
async def test_commands_go_together_only_where_that_is_offered(*, pipelining: bool) -> None:
    async with SmtpRelay(pipelining=pipelining) as relay, mailer_to(settings(relay)) as mailer:
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
    assert max(relay.flights) == (3 if pipelining else 1)


@PIPELINING
async def test_a_421_at_mail_costs_one_more_connection_and_no_attempt(*, pipelining: bool) -> None:
    async with SmtpRelay(pipelining=pipelining) as relay, mailer_to(settings(relay)) as mailer:
        relay.fault(Fault("mail", reply="421 4.3.2 going down", times=1))
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
    assert (len(relay.mails), relay.connections) == (1, 2)


@PIPELINING
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "dot"])
async def test_a_refusal_in_any_phase_leaves_the_connection_usable(
    phase: str, *, pipelining: bool
) -> None:
    async with SmtpRelay(pipelining=pipelining) as relay, mailer_to(settings(relay)) as mailer:
        relay.fault(Fault(phase, reply="451-4.3.0 not\r\n451 4.3.0 now, in 30 seconds", times=1))
        refused = await mailer.send(mail())
        accepted = await mailer.send(mail())
    assert refused.reply_class is C.TRANSIENT
    assert (refused.smtp, refused.retry_after_s) == ("451 4.3.0", 30)
    assert refused.phase == ("body" if phase == "dot" else phase)
    assert refused.detail == "not now, in 30 seconds"
    assert accepted.reply_class is C.ACCEPTED
    assert relay.connections == 1
    assert len(relay.mails) == 1


@PIPELINING
async def test_data_granted_for_a_refused_recipient_is_ended_empty(*, pipelining: bool) -> None:
    async with SmtpRelay(pipelining=pipelining) as relay, mailer_to(settings(relay)) as mailer:
        # A relay that forgot that it refused: it says 354 after a 550.
        relay.fault(Fault("rcpt", reply="550 5.1.1 no such user", times=1))
        relay.grants_data_always = True
        relay.fault(Fault("dot", reply="554 5.5.1 no valid recipients", times=1))
        refused = await mailer.send(mail("gone@example.org"))
        relay.heal()
        accepted = await mailer.send(mail())
    assert (refused.reply_class, refused.phase, refused.smtp) == (
        C.HARD_BOUNCE,
        "rcpt",
        "550 5.1.1",
    )
    assert accepted.reply_class is C.ACCEPTED
    assert [received.recipients for received in relay.mails] == [("bob@example.org",)]
    assert relay.connections == 1


@PIPELINING
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "dot"])
async def test_421_in_any_phase_closes_the_connection(phase: str, *, pipelining: bool) -> None:
    async with SmtpRelay(pipelining=pipelining) as relay, mailer_to(settings(relay)) as mailer:
        # At MAIL it is tried once more at once: the relay has not heard of the mail yet.
        times = 2 if phase == "mail" else 1
        relay.fault(Fault(phase, reply="421 4.3.2 going down", times=times))
        refused = await mailer.send(mail())
        accepted = await mailer.send(mail())
    assert (refused.reply_class, refused.smtp) == (C.CLOSING, "421 4.3.2")
    assert accepted.reply_class is C.ACCEPTED
    assert relay.connections == times + 1


@PIPELINING
@pytest.mark.parametrize("accept", [True, False])
async def test_a_reply_lost_after_the_final_dot_is_unknown(
    *, accept: bool, pipelining: bool
) -> None:
    async with SmtpRelay(pipelining=pipelining) as relay, mailer_to(settings(relay)) as mailer:
        relay.fault(Fault("dot", drop=True, accept=accept))
        result = await mailer.send(mail())
    assert (result.reply_class, result.phase, result.smtp) == (C.UNKNOWN, "body", None)
    assert len(relay.mails) == accept
    assert relay.connections == 1  # and no second copy was sent


async def test_a_link_cut_in_the_content_is_unknown() -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
        relay.fault(Fault("body", drop=True))
        assert (await mailer.send(mail())).reply_class is C.UNKNOWN


async def test_no_reply_to_the_final_dot_in_time_is_unknown() -> None:
    async with SmtpRelay() as relay:
        relay.fault(Fault("dot"))
        patience = SmtpTimeouts(dot_s=0.05)
        async with mailer_to(settings(relay, timeouts=patience)) as mailer:
            assert (await mailer.send(mail())).reply_class is C.UNKNOWN


@PIPELINING
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
async def test_no_reply_before_that_is_certain_to_have_sent_nothing(
    phase: str, *, pipelining: bool
) -> None:
    async with SmtpRelay(pipelining=pipelining) as relay:
        relay.fault(Fault(phase))
        patience = SmtpTimeouts(envelope_s=0.05)
        async with mailer_to(settings(relay, timeouts=patience)) as mailer:
            result = await mailer.send(mail())
    assert (result.reply_class, result.smtp) == (C.CLOSING, None)
    assert not relay.mails


@pytest.mark.parametrize(
    "garbage",
    [
        "hello",
        "2x0 ok",
        "250_ok",
        "250-a\r\n550 b",
        "",
        "25",
        "250 " + "x" * 40_000,
        "250-a\r\n" * 9000,
    ],
)
@PIPELINING
async def test_a_reply_that_is_none_is_a_protocol_matter(garbage: str, *, pipelining: bool) -> None:
    async with SmtpRelay(pipelining=pipelining) as relay, mailer_to(settings(relay)) as mailer:
        relay.fault(Fault("mail", reply=garbage, times=1))
        refused = await mailer.send(mail())
        accepted = await mailer.send(mail())
    assert refused.reply_class is C.PROTOCOL
    assert refused.smtp is None
    assert accepted.reply_class is C.ACCEPTED


@pytest.mark.parametrize("reply", ["354 go on", "199 what", "999 what"])
async def test_a_reply_out_of_place_is_a_protocol_matter(reply: str) -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
        relay.fault(Fault("rcpt", reply=reply, times=1))
        assert (await mailer.send(mail())).reply_class is C.PROTOCOL
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED


@PIPELINING
async def test_dots_at_the_beginning_of_lines_survive(*, pipelining: bool) -> None:
    # The built-in encoding never produces such lines; the header can.
    async with SmtpRelay(pipelining=pipelining) as relay, mailer_to(settings(relay)) as mailer:
        await mailer.send(mail(code=".\r\n.\r\n..\r\n"))
    part = relay.mails[0].message().get_body(("plain",))
    assert part is not None
    assert part.get_content().splitlines() == ["Ваш код: .", ".", ".."]


@PIPELINING
async def test_a_large_message_is_written_in_pieces(*, pipelining: bool) -> None:
    template = Template("S", "{code}", "{code}")
    async with (
        SmtpRelay(pipelining=pipelining) as relay,
        mailer_to(settings(relay), template=template) as mailer,
    ):
        assert (await mailer.send(mail(code="x" * 1_000_000))).reply_class is C.ACCEPTED
    assert len(relay.mails[0].content) > 2_000_000


async def test_a_message_above_the_relays_limit_is_not_offered() -> None:
    async with SmtpRelay(max_octets=1500) as relay, mailer_to(settings(relay)) as mailer:
        result = await mailer.send(mail(code="x" * 2000))
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
    assert (result.reply_class, result.phase, result.smtp) == (C.CONTENT, "local", "552 5.3.4")
    assert "SIZE=" in " ".join(relay.mails[0].mail_options)


async def test_a_non_ascii_local_part_goes_where_smtputf8_is_offered() -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
        assert (await mailer.send(mail("иван@пример.рф"))).reply_class is C.ACCEPTED
    assert relay.mails[0].recipients == ("иван@xn--e1afmkfd.xn--p1ai",)
    assert {"SMTPUTF8", "BODY=8BITMIME"} <= set(relay.mails[0].mail_options)
    assert "To: иван@".encode() in relay.mails[0].content


async def test_a_non_ascii_local_part_bounces_where_it_is_not() -> None:
    async with SmtpRelay(smtputf8=False) as relay, mailer_to(settings(relay)) as mailer:
        result = await mailer.send(mail("иван@пример.рф"))
        ascii_result = await mailer.send(mail("ivan@пример.рф"))
    assert (result.smtp, result.phase) == ("553 5.6.7", "local")
    assert result.reply_class.bounces
    assert ascii_result.reply_class is C.ACCEPTED
    assert [line for _, line in relay.commands if line.startswith("RCPT")] == [
        "RCPT TO:<ivan@xn--e1afmkfd.xn--p1ai>"
    ]


async def test_quoted_and_long_local_parts_are_delivered() -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
        for text in ('"bob smith"@example.org', "x" * 64 + "@example.org", "o'b=r!@example.org"):
            result = await mailer.send(mail(text))
            assert result.reply_class is C.ACCEPTED
            assert relay.mails[-1].recipients == (text,)


async def test_an_address_that_could_inject_never_reaches_the_wire() -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
        hostile = mail()
        object.__setattr__(hostile, "recipient", Address("b\r\nRSET\r\n", "example.org"))
        with pytest.raises(TemplateError):
            await mailer.send(hostile)
    assert relay.connections == 0


async def test_a_cancelled_send_does_not_poison_the_connection() -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
        relay.delay_s = {"rcpt": 30.0}
        sending = asyncio.create_task(mailer.send(mail("first@example.org")))
        await until(lambda: any("RCPT" in line for _, line in relay.commands), "the RCPT command")
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        relay.delay_s = 0.0
        assert (await mailer.send(mail("second@example.org"))).reply_class is C.ACCEPTED
    assert [received.recipients[0] for received in relay.mails] == ["second@example.org"]
    assert relay.connections == 2


async def test_a_reply_that_comes_in_pieces_is_put_together() -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
        relay.drips = True
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
