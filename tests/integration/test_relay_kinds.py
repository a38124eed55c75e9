"""Relays of two kinds beside each other: SMTP, and one in memory."""

import asyncio
from collections import Counter

from mailtopic_sender.adapters.memory_relay import MemoryRelay
from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.relays.breaker import BreakerState
from mailtopic_sender.engine.relays.port import RelayLimits
from mailtopic_sender.mail_ports import DeliveryResult
from support.conditions import until
from support.smtp_mails import mail, mailer_to
from support.smtp_relay import Fault, SmtpRelay

C = ReplyClass


def settings(relay: SmtpRelay) -> RelaySettings:
    return RelaySettings(relay.host, relay.port, name="smtp", security=Security.NONE)


async def test_a_relay_of_another_kind_takes_over_and_hands_back() -> None:
    memory = MemoryRelay()
    async with SmtpRelay() as relay, mailer_to(settings(relay), memory) as mailer:
        assert (await mailer.send(mail())).relay == "smtp"
        await relay.stop()
        results = await asyncio.gather(*(mailer.send(mail()) for _ in range(30)))
        assert {(one.relay, one.reply_class) for one in results} == {("memory", C.ACCEPTED)}
        await relay.start()
        await until(lambda: mailer.relays[0].breaker is BreakerState.CLOSED, "the breaker closes")
        assert (await mailer.send(mail())).relay == "smtp"
    assert (len(relay.mails), len(memory.accepted)) == (2, 30)


async def test_smtp_takes_over_from_a_relay_of_another_kind() -> None:
    used_up = DeliveryResult(C.QUOTA, "memory", "body", "429")
    memory = MemoryRelay([used_up])
    async with SmtpRelay() as relay, mailer_to(memory, settings(relay)) as mailer:
        results = await asyncio.gather(*(mailer.send(mail()) for _ in range(10)))
    assert Counter(one.relay for one in results)["smtp"] == len(relay.mails)
    assert {one.reply_class for one in results} == {C.ACCEPTED}
    assert len(relay.mails) + len(memory.accepted) == 10


async def test_mails_that_would_wait_for_long_go_by_a_relay_of_another_kind() -> None:
    slow = MemoryRelay(name="slow", limits=RelayLimits(rate_per_s=0.1))
    async with SmtpRelay() as relay, mailer_to(slow, settings(relay)) as mailer:
        results = [await mailer.send(mail()) for _ in range(4)]
    assert [one.relay for one in results] == ["slow", "smtp", "smtp", "smtp"]


async def test_a_queued_mail_moves_when_its_relay_becomes_slow() -> None:
    slow = MemoryRelay(name="slow", limits=RelayLimits(rate_per_s=10))
    slow.gate.clear()
    async with SmtpRelay() as relay, mailer_to(slow, settings(relay)) as mailer:
        waiting = [asyncio.create_task(mailer.send(mail())) for _ in range(20)]
        await until(lambda: mailer.relays[0].waiting > 10, "they wait at the first relay")
        mailer.set_share(0.001)
        slow.gate.set()
        results = await asyncio.wait_for(asyncio.gather(*waiting), 10)
    found = Counter(one.relay for one in results)
    assert found["smtp"] >= 10
    assert found.total() == 20


async def test_what_one_kind_distrusts_is_tried_once_by_the_other() -> None:
    distrust = DeliveryResult(C.REPUTATION, "memory", "body", "403")
    memory = MemoryRelay([distrust])
    async with SmtpRelay() as relay, mailer_to(memory, settings(relay)) as mailer:
        assert (await mailer.send(mail())).relay == "smtp"
        memory.script(distrust)
        relay.fault(Fault("rcpt", reply="554 5.7.1 blocked by reputation"))
        assert (await mailer.send(mail())).reply_class is C.REPUTATION
