import asyncio

from mailtopic_sender.adapters.memory_relay import MemoryRelay
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import DeliveryResult
from support.smtp_mails import mail, mailer_to

REFUSED = DeliveryResult(ReplyClass.HARD_BOUNCE, relay="memory", phase="rcpt", smtp="550 5.1.1")
CONTENT = DeliveryResult(ReplyClass.CONTENT, relay="memory", phase="body", smtp="554 5.6.0")
AWAY = DeliveryResult(ReplyClass.TRANSPORT, relay="memory", phase="connect")


async def test_results_come_by_recipient_then_in_order_then_all_is_well() -> None:
    relay = MemoryRelay([REFUSED])
    relay.script(CONTENT, address="eve@example.org")
    async with mailer_to(relay) as mailer:
        kinds = [
            (await mailer.send(one)).reply_class
            for one in (mail("eve@example.org"), mail(), mail())
        ]
    assert kinds == [ReplyClass.CONTENT, ReplyClass.HARD_BOUNCE, ReplyClass.ACCEPTED]
    assert [len(relay.sent), len(relay.accepted)] == [3, 1]


async def test_a_relay_that_is_blamed_stays_away_until_it_recovers() -> None:
    relay = MemoryRelay([AWAY])
    async with mailer_to(relay) as mailer:
        assert (await mailer.send(mail())).reply_class is ReplyClass.TRANSPORT
        assert not mailer.is_available
        waiting = asyncio.create_task(mailer.wait_available())
        await asyncio.sleep(0.1)  # several probes' time
        assert not waiting.done()
        relay.recover()
        await asyncio.wait_for(waiting, 10)


async def test_a_mail_can_be_held_under_way() -> None:
    relay = MemoryRelay()
    relay.gate.clear()
    async with mailer_to(relay) as mailer:
        sending = asyncio.create_task(mailer.send(mail()))
        for _ in range(5):
            await asyncio.sleep(0)
        assert relay.sent == []
        relay.gate.set()
        assert (await sending).reply_class is ReplyClass.ACCEPTED


def test_a_mail_shows_neither_address_nor_code() -> None:
    shown = repr(mail("secret@example.org", code="987654"))
    assert "secret" not in shown
    assert "987654" not in shown
