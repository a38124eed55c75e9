"""The order in which mails wait for a relay."""

from mailtopic_sender.domain.message import Message
from mailtopic_sender.engine.relays.port import Offer
from mailtopic_sender.engine.relays.queue import OfferQueue
from mailtopic_sender.mail_ports import DeliveryResult
from support.smtp_mails import mail


class Ticket:
    def is_wanted(self) -> bool:
        return True

    def told(self, result: DeliveryResult | None) -> None:
        raise AssertionError(result)


def offer(name: str, *, is_fresh: bool = True) -> Offer:
    return Offer(
        mail(), Message(b"", name.encode(), b"", needs_smtputf8=False), Ticket(), is_fresh=is_fresh
    )


def popped(queue: OfferQueue, now_s: float = 100.0) -> list[str]:
    names = []
    while (found := queue.pop(now_s)) is not None:
        names.append(found.message.recipient)
    return names


def test_first_attempts_and_others_take_turns() -> None:
    queue = OfferQueue()
    for number in range(3):
        queue.put(offer(f"fresh{number}"))
        queue.put(offer(f"old{number}", is_fresh=False))
    assert len(queue) == 6
    assert popped(queue) == ["fresh0", "old0", "fresh1", "old1", "fresh2", "old2"]
    assert not queue


def test_a_backlog_of_either_kind_goes_on_alone() -> None:
    queue = OfferQueue()
    queue.put(offer("fresh"))
    for number in range(3):
        queue.put(offer(f"old{number}", is_fresh=False))
    assert popped(queue) == ["fresh", "old0", "old1", "old2"]


def test_what_was_about_to_be_sent_goes_first() -> None:
    queue = OfferQueue()
    queue.put(offer("fresh"))
    queue.put_first(offer("again"))
    assert popped(queue) == ["again", "fresh"]


def test_a_mail_that_waits_until_its_time_holds_up_no_other() -> None:
    queue = OfferQueue()
    queue.put_until(20.0, offer("late"))
    queue.put_until(10.0, offer("soon"))
    queue.put(offer("fresh"))
    assert queue.due_s() == 0
    assert popped(queue, 5.0) == ["fresh"]
    assert queue.due_s() == 10
    assert popped(queue, 10.0) == ["soon"]
    assert popped(queue, 20.0) == ["late"]
    assert queue.due_s() == float("inf")


def test_any_of_them_can_be_taken_out() -> None:
    queue = OfferQueue()
    queue.put(offer("fresh"))
    queue.put_until(10.0, offer("late"))
    queue.put_first(offer("again"))
    taken = queue.take_if(lambda each: each.message.recipient != "late")
    assert [each.message.recipient for each in taken] == ["again", "fresh"]
    assert [each.message.recipient for each in queue.take_all()] == ["late"]
    assert not queue
