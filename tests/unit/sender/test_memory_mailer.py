import asyncio

from mailtopic_sender.adapters.memory_mailer import ACCEPTED, MemoryMailer
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import DeliveryResult, Mailer
from support.smtp_mails import mail

REFUSED = DeliveryResult(ReplyClass.HARD_BOUNCE, relay="memory", phase="rcpt", smtp="550 5.1.1")
AWAY = DeliveryResult(ReplyClass.TRANSPORT, relay="memory", phase="connect")


async def test_results_come_by_recipient_then_in_order_then_all_is_well() -> None:
    mailer: Mailer = MemoryMailer([REFUSED])
    assert isinstance(mailer, MemoryMailer)
    mailer.script(AWAY, address="eve@example.org")
    assert await mailer.send(mail("eve@example.org")) is AWAY
    assert await mailer.send(mail()) is REFUSED
    assert await mailer.send(mail()) is ACCEPTED
    assert [len(mailer.sent), len(mailer.accepted)] == [3, 1]


async def test_a_relay_that_is_blamed_stays_away_until_it_recovers() -> None:
    mailer = MemoryMailer([AWAY])
    await mailer.send(mail())
    assert not mailer.is_available
    waiting = asyncio.create_task(mailer.wait_available())
    await asyncio.sleep(0)
    assert not waiting.done()
    mailer.recover()
    await waiting


async def test_a_mail_can_be_held_under_way() -> None:
    mailer = MemoryMailer()
    mailer.gate.clear()
    sending = asyncio.create_task(mailer.send(mail()))
    await asyncio.sleep(0)
    assert mailer.sent == []
    mailer.gate.set()
    assert await sending is ACCEPTED


def test_a_mail_shows_neither_address_nor_code() -> None:
    shown = repr(mail("secret@example.org", code="987654"))
    assert "secret" not in shown
    assert "987654" not in shown
