"""Pools, breakers and several relays: outages come and go, mails find their way."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from mailtopic_sender.adapters import smtp_opening
from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security, SmtpTimeouts
from mailtopic_sender.domain.replies import ReplyClass, parse_rules
from mailtopic_sender.engine.relays.breaker import BreakerState
from mailtopic_sender.mail_ports import DeliveryResult
from support.conditions import until
from support.smtp_mails import mail, mailer_to
from support.smtp_relay import Fault, SmtpRelay

C = ReplyClass


def settings(
    relay: SmtpRelay,
    *,
    name: str = "default",
    max_connections: int = 10,
    mails_per_connection: int = 100,
    idle_s: float = 9.0,
    username: str | None = None,
) -> RelaySettings:
    return RelaySettings(
        relay.host,
        relay.port,
        name=name,
        security=Security.NONE,
        max_connections=max_connections,
        mails_per_connection=mails_per_connection,
        idle_s=idle_s,
        username=username,
        password=username,
    )


async def test_200_concurrent_mails_share_ten_connections() -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
        results = await asyncio.gather(
            *(mailer.send(mail(f"user{number}@example.org")) for number in range(200))
        )
    assert Counter(result.reply_class for result in results) == {C.ACCEPTED: 200}
    received = Counter(one.recipients[0] for one in relay.mails)
    assert received == {f"user{number}@example.org": 1 for number in range(200)}
    assert relay.connections == 10


async def test_a_connection_is_retired_after_its_share_of_mails() -> None:
    async with (
        SmtpRelay() as relay,
        mailer_to(settings(relay, mails_per_connection=3)) as mailer,
    ):
        for _ in range(7):
            assert (await mailer.send(mail())).reply_class is C.ACCEPTED
    assert [one.connection for one in relay.mails] == [1, 1, 1, 2, 2, 2, 3]


async def test_an_idle_connection_is_closed_before_the_relay_does_it() -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay, idle_s=0.05)) as mailer:
        await mailer.send(mail())
        assert relay.links
        await until(lambda: not relay.links, "the idle connection's end")
        assert mailer.relays[0].connections.idle == 0
    assert relay.commands[-1][1] == "QUIT"


@pytest.mark.parametrize("farewell", [b"", b"421 4.4.2 idle for too long\r\n"])
async def test_a_stale_connection_costs_one_free_retry(farewell: bytes) -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
        await mailer.send(mail())
        relay.drop_links(farewell=farewell)
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
    assert len(relay.mails) == 2
    assert relay.connections == 2


@pytest.mark.parametrize("fault", [Fault("mail", drop=True), Fault("mail", reply="421 4.4.2 idle")])
async def test_a_connection_that_dies_at_mail_is_stale_only_if_it_was_used_before(
    fault: Fault,
) -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
        await mailer.send(mail())
        fault.times = 1
        relay.fault(fault)
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
        assert relay.connections == 2
        relay.drop_links()
        fault.times = 2
        assert (await mailer.send(mail())).reply_class is C.CLOSING
        fault.times = 0
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
    assert len(relay.mails) == 3


async def test_a_relay_that_goes_and_comes_is_told_in_two_lines() -> None:
    with capture_logs() as lines:
        async with SmtpRelay() as relay, mailer_to(settings(relay), start=True) as mailer:
            assert (await mailer.send(mail())).reply_class is C.ACCEPTED
            await relay.stop()
            results = await asyncio.gather(*(mailer.send(mail()) for _ in range(50)))
            assert {result.reply_class for result in results} == {C.TRANSPORT}
            assert {result.detail for result in results} == {"connection refused"}
            assert not mailer.is_available
            waiting = asyncio.create_task(mailer.wait_available())
            for _ in range(20):
                assert (await mailer.send(mail())).reply_class is C.TRANSPORT
            assert not waiting.done()
            await relay.start()
            await asyncio.wait_for(waiting, 10)
            assert (await mailer.send(mail())).reply_class is C.ACCEPTED
    told = [(line["event"], line["log_level"]) for line in lines if line["log_level"] != "debug"]
    assert told == [("relay.unavailable", "warning"), ("relay.available", "info")]
    assert "connection refused" in str(lines)


async def test_a_relay_that_is_down_from_the_start_is_noticed_without_a_mail() -> None:
    async with SmtpRelay() as relay:
        await relay.stop()
        async with mailer_to(settings(relay), start=True) as mailer:
            await until(lambda: not mailer.is_available, "the first check's failure")
            await relay.start()
            await asyncio.wait_for(mailer.wait_available(), 10)
            assert (await mailer.send(mail())).reply_class is C.ACCEPTED


async def test_the_second_relay_takes_over_and_hands_back() -> None:
    async with SmtpRelay() as first, SmtpRelay() as second:
        relays = settings(first, name="a"), settings(second, name="b")
        async with mailer_to(*relays) as mailer:
            assert (await mailer.send(mail())).relay == "a"
            await first.stop()
            results = await asyncio.gather(*(mailer.send(mail()) for _ in range(30)))
            assert {(one.relay, one.reply_class) for one in results} == {("b", C.ACCEPTED)}
            assert mailer.is_available
            await first.start()
            await until(
                lambda: mailer.relays[0].breaker is BreakerState.CLOSED, "the breaker of a closes"
            )
            assert (await mailer.send(mail())).relay == "a"
    assert (len(first.mails), len(second.mails)) == (2, 30)


async def test_an_unknown_fate_is_never_sent_to_the_second_relay() -> None:
    async with SmtpRelay() as first, SmtpRelay() as second:
        first.fault(Fault("dot", drop=True, accept=True))
        async with mailer_to(settings(first, name="a"), settings(second, name="b")) as mailer:
            assert (await mailer.send(mail())).reply_class is C.UNKNOWN
    assert (len(first.mails), len(second.mails)) == (1, 0)


async def test_a_distrusted_sender_is_tried_once_elsewhere() -> None:
    async with SmtpRelay() as first, SmtpRelay() as second, SmtpRelay() as third:
        relays = [settings(one, name=str(i)) for i, one in enumerate((first, second, third))]
        first.fault(Fault("rcpt", reply="554 5.7.1 blocked by reputation"))
        async with mailer_to(*relays) as mailer:
            assert (await mailer.send(mail())).relay == "1"
            second.fault(Fault("rcpt", reply="550 5.7.26 unauthenticated"))
            assert (await mailer.send(mail())).reply_class is C.REPUTATION
    assert not third.mails


async def test_a_refused_sender_goes_by_another_relay_and_blames_neither_relay_nor_mail() -> None:
    async with SmtpRelay() as first, SmtpRelay() as second:
        relays = settings(first, name="a"), settings(second, name="b")
        first.fault(Fault("mail", reply="553 5.7.1 Sender address rejected: not owned by user"))
        async with mailer_to(*relays) as mailer:
            assert (await mailer.send(mail())).relay == "b"
            second.fault(Fault("rcpt", reply="550 From not allowed"))
            assert (await mailer.send(mail())).reply_class is C.SENDER
            assert all(relay.breaker is BreakerState.CLOSED for relay in mailer.relays)


async def test_rules_of_ones_own_decide_what_a_relay_means() -> None:
    rules = parse_rules(
        '[{"match": "paradise lost", "class": "content"},'
        ' {"match": "house full", "class": "quota"}]'
    )
    async with SmtpRelay() as relay:
        ruled = replace(settings(relay, name="a"), reply_rules=rules)
        relay.fault(Fault("connect", reply="554 House full"))
        async with mailer_to(ruled, settings(relay, name="b")) as mailer:
            assert (await mailer.send(mail())).reply_class.blames_relay
            assert mailer.relays[0].replies[C.QUOTA] >= 1
            assert mailer.relays[1].replies[C.QUOTA] == 0
    async with SmtpRelay() as relay:
        ruled = replace(settings(relay), reply_rules=rules)
        relay.fault(Fault("rcpt", reply="550 5.1.1 User unknown (Paradise lost)"))
        async with mailer_to(ruled) as mailer:
            assert (await mailer.send(mail())).reply_class is C.CONTENT


async def test_an_address_one_relay_cannot_carry_goes_by_another() -> None:
    async with SmtpRelay(smtputf8=False) as first, SmtpRelay() as second:
        relays = settings(first, name="a"), settings(second, name="b")
        async with mailer_to(*relays) as mailer:
            assert (await mailer.send(mail("иван@example.org"))).relay == "b"
            await second.stop()
            result = await mailer.send(mail("иван@example.org"))
            assert mailer.is_available
    # The one that could is away: neither a bounce, nor a reason to come back at once.
    assert result.reply_class is C.TRANSIENT


async def test_a_login_wanted_at_mail_keeps_mails_out_until_one_passes() -> None:
    async with SmtpRelay(require_login=True) as relay:
        with capture_logs() as lines:
            async with mailer_to(settings(relay)) as mailer:
                results = await asyncio.gather(*(mailer.send(mail()) for _ in range(50)))
                assert {one.reply_class for one in results} == {C.AUTH}
                assert not mailer.is_available
                for _ in range(3):
                    # A session can be opened all the time, so single mails try.
                    await asyncio.wait_for(mailer.wait_available(), 10)
                    tries = await asyncio.gather(*(mailer.send(mail()) for _ in range(10)))
                    assert {one.reply_class for one in tries} == {C.AUTH}
                    assert not mailer.is_available
                offered = sum("MAIL" in line for _, line in relay.commands)
                assert offered <= 50 + 3
                relay.require_login = False
                await asyncio.wait_for(mailer.wait_available(), 10)
                assert (await mailer.send(mail())).reply_class is C.ACCEPTED
                assert mailer.relays[0].breaker is BreakerState.CLOSED
    told = [line["event"] for line in lines if line["log_level"] != "debug"]
    assert told == ["relay.unavailable", "relay.available"]


async def test_a_used_up_allowance_pauses_the_relay() -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
        quota = Fault("rcpt", reply="454 Throttling failure: Daily message quota exceeded.")
        relay.fault(quota)
        for number in range(3):
            refused = await mailer.send(mail(f"user{number}@example.org"))
            assert refused.reply_class is C.QUOTA
        assert sum("RCPT" in line for _, line in relay.commands) == 2
        relay.heal(quota)
        await asyncio.wait_for(mailer.wait_available(), 10)
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED


async def test_a_bug_while_opening_is_told_once_and_closes_the_breaker_like_an_outage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    openings = 0

    async def broken(*_: object, **__: object) -> None:
        nonlocal openings
        openings += 1
        raise AttributeError("a bug")

    with capture_logs() as lines, monkeypatch.context() as broken_code:
        broken_code.setattr(smtp_opening, "connect", broken)
        async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
            tries = await asyncio.gather(*(mailer.send(mail()) for _ in range(30)))
            assert {one.reply_class for one in tries} == {C.TRANSPORT}
            assert not mailer.is_available
            await until(lambda: openings > 13, "some probes")
            broken_code.undo()
            await asyncio.wait_for(mailer.wait_available(), 10)
            assert (await mailer.send(mail())).reply_class is C.ACCEPTED
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["smtp.bug"]


async def test_the_missing_login_is_told_once() -> None:
    with capture_logs() as lines:
        async with SmtpRelay() as relay, mailer_to(settings(relay, username="bob")) as mailer:
            await asyncio.gather(*(mailer.send(mail()) for _ in range(50)))
    assert [line["event"] for line in lines].count("relay.login_not_offered") == 1


async def test_one_word_of_throttling_costs_no_connection() -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay, max_connections=8)) as mailer:
        await asyncio.gather(*(mailer.send(mail()) for _ in range(40)))
        relay.fault(Fault("rcpt", reply="451 4.7.0 rate limit exceeded", times=1))
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
        assert mailer.relays[0].connections.limit == 8
        assert mailer.relays[0].replies[C.THROTTLED] == 1


async def test_a_full_relay_is_served_on_the_connections_it_grants() -> None:
    async with SmtpRelay() as relay, mailer_to(settings(relay)) as mailer:
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
        relay.fault(Fault("connect", reply="421 4.7.0 too many connections"))
        results = await asyncio.gather(*(mailer.send(mail()) for _ in range(50)))
        assert Counter(result.reply_class for result in results) == {C.ACCEPTED: 50}
        assert mailer.relays[0].breaker is BreakerState.CLOSED
        # Every few mails taken, it asks for one connection more, and is refused again.
        assert mailer.relays[0].connections.limit < 10
    assert {one.connection for one in relay.mails} == {1}


async def test_random_421s_and_lost_links_lose_nothing_that_was_promised() -> None:
    async with SmtpRelay(seed=7) as relay, mailer_to(settings(relay)) as mailer:
        relay.fault(Fault("mail", reply="421 4.3.2 closing", probability=0.1))
        relay.fault(Fault("rcpt", drop=True, probability=0.1))
        relay.fault(Fault("dot", drop=True, accept=True, probability=0.05))
        relay.fault(Fault("dot", reply="451 4.3.0 later", probability=0.1))
        mails = [mail(f"user{number}@example.org") for number in range(500)]
        results = await asyncio.gather(*(mailer.send(one) for one in mails))
    arrived = Counter(one.recipients[0] for one in relay.mails)
    for sent, result in zip(mails, results, strict=True):
        count = arrived[sent.recipient.normalised]
        if result.reply_class is C.ACCEPTED:
            assert count == 1
        elif result.reply_class is C.UNKNOWN:
            assert count <= 1
        else:
            assert result.reply_class in {C.CLOSING, C.TRANSIENT}
            assert count == 0


async def test_a_relay_that_accepts_connections_but_never_speaks_is_given_up() -> None:
    async with SmtpRelay() as relay:
        relay.fault(Fault("connect"))
        patience = SmtpTimeouts(greeting_s=0.05)
        silent = RelaySettings(relay.host, relay.port, security=Security.NONE, timeouts=patience)
        async with mailer_to(silent) as mailer:
            result = await mailer.send(mail())
    assert (result.reply_class, result.detail) == (C.TRANSPORT, "timed out")


async def test_closing_lets_nobody_wait_for_ever() -> None:
    with capture_logs() as lines:
        results = await close_in_the_middle()
    assert Counter(one.reply_class for one in results) == {C.UNKNOWN: 1, C.TRANSPORT: 2}
    assert [line for line in lines if line["log_level"] != "debug"] == []


async def close_in_the_middle() -> list[DeliveryResult]:
    async with SmtpRelay() as relay, mailer_to(settings(relay, max_connections=1)) as mailer:
        relay.fault(Fault("dot"))
        sends = [asyncio.create_task(mailer.send(mail())) for _ in range(3)]
        await until(lambda: mailer.relays[0].connections.busy, "the first mail under way")
        await until(lambda: any("DATA" in line for _, line in relay.commands), "its DATA")
        await mailer.close()
        await relay.stop()
        return await asyncio.wait_for(asyncio.gather(*sends), 10)
