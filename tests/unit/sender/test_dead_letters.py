"""What a dead letter holds of a record that couldn't be read, or that the DLQ doesn't take."""

import gc
from hashlib import sha256

from mailtopic_contract import Outcome, RecordError, TopicNames, Unread
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_sender.ports import ConsumedRecord, TopicPartition
from support.conditions import until
from support.engines import NAMES, Engine

MAIN = TopicPartition(NAMES.main, 0)


async def bury(engine: Engine, *records: ConsumedRecord) -> list[ConsumedRecord]:
    engine.kafka.logs[MAIN] += records
    engine.kafka.written.set()
    async with engine.running():
        await until(lambda: len(engine.events()) >= len(records), "all have an outcome")
    assert engine.outcomes() == [Outcome.DEAD] * len(records)
    committed = engine.kafka.committed("mails", MAIN)
    assert committed is not None
    assert committed.offset == records[-1].offset + 1
    return engine.kafka.stored(NAMES.dlq)


async def test_a_fault_takes_a_record_into_the_dlq_with_what_there_is_of_it() -> None:
    unread = Unread("batch", 3, 7, 5, sha256(b"\x00raw\xff").hexdigest()).encode()
    fault = RecordError("bad-batch", "the checksum is wrong")
    engine = Engine()
    (letter,) = await bury(
        engine, ConsumedRecord(*MAIN, 7, -1, None, b"\x00raw\xff", tuple(unread), fault)
    )
    assert (letter.key, letter.value) == (None, b"\x00raw\xff")
    headers = dict(letter.headers)
    assert headers["mt-unread-offsets"] == b"3-7"
    assert headers["mt-error-class"] == b"poison"
    assert headers["mt-error-message"] == b"the checksum is wrong"
    # A time that is none would make the letter's own headers unreadable.
    assert headers["mt-origin-timestamp"] == b"0"
    name = "mailtopic_dead_letters_total"
    labels = {"topic": "mails", "reason": "bad-batch"}
    assert engine.registry.get_sample_value(name, labels) == 1


async def test_a_record_that_the_dlq_does_not_take_leaves_a_digest_there() -> None:
    engine = Engine()
    engine.kafka.max_record_bytes[NAMES.dlq] = 1_000
    value = b"x" * 1_001
    foreign = (("x-team", b"\xff" * 5_000),)
    letters = await bury(
        engine,
        ConsumedRecord(*MAIN, 0, 1, b"key", value, foreign),
        ConsumedRecord(*MAIN, 1, 1, b"k" * 5_000, value),
        ConsumedRecord(*MAIN, 2, 1, b"key", b"x" * 1_000, foreign),
    )
    assert [(letter.key, letter.value) for letter in letters] == [
        (b"key", None),
        (b"", None),
        (b"key", b"x" * 1_000),
    ]
    headers = dict(letters[0].headers)
    assert headers["mt-unread-form"] == b"none"
    assert headers["mt-unread-bytes"] == b"1001"
    assert headers["mt-unread-sha256"] == sha256(value).hexdigest().encode()
    assert "x-team" not in headers
    assert dict(letters[2].headers)["x-team"] == b"\xff" * 5_000


async def test_headers_that_can_not_be_decoded_stay_beside_ours() -> None:
    wrong = (("mt-attempt", b"\xff"), ("x-null", None), ("mt-id", b"none"))
    (letter,) = await bury(Engine(), ConsumedRecord(*MAIN, 0, 1, b"k", b"{}", wrong))
    assert letter.headers[:3] == wrong
    assert dict(letter.headers)["mt-attempt"] == b"1"


async def test_a_mail_that_its_retry_topic_does_not_take_is_dead() -> None:
    engine = Engine()
    for retry in TopicNames("mails").retries:
        engine.kafka.max_record_bytes[retry] = 10
    engine.relay.script(
        DeliveryResult(ReplyClass.GREYLISTED, relay="a", phase="rcpt", smtp="451 4.7.1")
    )
    mail_id = await engine.publish()
    async with engine.running():
        await until(lambda: Outcome.DEAD in engine.outcomes(), "it is dead")
    (letter,) = engine.kafka.stored(NAMES.dlq)
    assert dict(letter.headers)["mt-id"] == str(mail_id).encode()


async def test_a_dead_letter_leaves_no_cycle_that_keeps_its_record() -> None:
    engine = Engine()
    async with engine.running():
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for value in (b"{", b"\xff", b"[" * 100_000, b'{"v":99}', b"x" * 300_000, b'{"v":1}'):
                await engine.kafka.publish(NAMES.main, key=b"k", value=value)
            await engine.kafka.publish(
                NAMES.main, key=b"k", value=b"{}", headers=[("mt-attempt", b"\xff")]
            )
            await until(lambda: len(engine.events()) == 7, "all are dead")
            gc.collect()
            kept = {type(each).__name__ for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not kept & {"Incoming", "ConsumedRecord", "RecordError", "HeaderError", "frame"}
