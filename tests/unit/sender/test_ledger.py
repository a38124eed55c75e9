"""The ledger: what is settled isn't sent again."""

from uuid import UUID, uuid4

from mailtopic_contract import Outcome, StatusEvent
from mailtopic_sender.adapters.memory_source import MemoryKafka, MemoryStatusLog
from mailtopic_sender.engine.ledger import Ledger

STATUS = "mails.status"


def event(outcome: Outcome, *, mail_id: UUID | None = None, attempt: int = 1) -> StatusEvent:
    return StatusEvent(
        id=mail_id or uuid4(), outcome=outcome, at=1, attempt=attempt, purpose="signup"
    )


async def written(*events: StatusEvent) -> tuple[MemoryKafka, Ledger]:
    kafka = MemoryKafka()
    for one in events:
        await kafka.publish(STATUS, key=one.key, value=one.encode(), partition=0)
    return kafka, Ledger(MemoryStatusLog(kafka, STATUS))


async def test_only_the_tail_after_the_position_is_read() -> None:
    before, after = event(Outcome.ACCEPTED), event(Outcome.BOUNCED)
    _, ledger = await written(before, after)
    assert await ledger.load("main", {0: 1}) == 1
    assert ledger.is_settled(after.id, 1)
    assert not ledger.is_settled(before.id, 1)
    assert ledger.position(0) == 2


async def test_of_a_partition_that_was_never_handled_only_the_end_is_learned() -> None:
    _, ledger = await written(event(Outcome.ACCEPTED))
    assert await ledger.load("main", {0: None}) == 0
    assert ledger.position(0) == 1


async def test_a_deferred_mail_is_settled_up_to_that_attempt() -> None:
    deferred = event(Outcome.DEFERRED, attempt=2)
    _, ledger = await written(deferred)
    await ledger.load("main", {0: 0})
    assert ledger.is_settled(deferred.id, 2)
    assert not ledger.is_settled(deferred.id, 3)


async def test_a_final_outcome_settles_every_attempt_but_death_can_be_overcome() -> None:
    accepted, dead = event(Outcome.ACCEPTED), event(Outcome.DEAD, attempt=3)
    _, ledger = await written(accepted, dead)
    await ledger.load("main", {0: 0})
    assert ledger.is_settled(accepted.id, 99)
    assert ledger.is_settled(dead.id, 3)
    assert not ledger.is_settled(dead.id, 4)


async def test_what_an_owner_loaded_is_forgotten_with_its_partitions() -> None:
    accepted = event(Outcome.ACCEPTED)
    _, ledger = await written(accepted)
    await ledger.load("main", {0: 0})
    ledger.forget("main")
    assert not ledger.is_settled(accepted.id, 1)


async def test_records_that_are_no_events_are_skipped() -> None:
    kafka, ledger = await written()
    await kafka.publish(STATUS, key=b"x", value=b"rubbish", partition=0)
    assert await ledger.load("main", {0: 0}) == 0
    assert ledger.position(0) == 1


async def test_own_outcomes_are_remembered_up_to_a_bound() -> None:
    ledger = Ledger(MemoryStatusLog(MemoryKafka(), STATUS), recent=2)
    events = [event(Outcome.ACCEPTED) for _ in range(3)]
    for offset, one in enumerate(events):
        ledger.note(one, partition=0, offset=offset)
    assert [ledger.is_settled(one.id, 1) for one in events] == [False, True, True]
    assert ledger.position(0) == 3
