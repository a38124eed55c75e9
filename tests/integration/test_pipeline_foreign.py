"""What foreign clients put on the topic: the original payload, and garbage."""

import asyncio
import json
import shutil
from pathlib import Path

from aiokafka import AIOKafkaProducer

from support.conditions import until
from support.kafka_records import Stored, read_everything
from support.pipeline import TOPIC, Pipeline, code_of
from support.requirements import require

GARBAGE: list[tuple[bytes | None, bytes | None]] = [
    (b"k1", b"{not json"),
    (b"k2", b'{"code":"123456"}'),
    (None, b'{"email":"a@b.test\\r\\nRCPT TO:<c@d.test>","code":"123456"}'),
    (b"k4", b"\xff\x00\xfe" * 10),
    (b"k5", b'{"v":99,"email":"a@b.test"}'),
    (b"k6", b"x" * 2_000_000),
    (b"k7", b""),
    (b"k8", None),
]


async def kcat(pipeline: Pipeline, *arguments: str, text: str) -> None:
    program = shutil.which("kcat") or require("integration", "kcat is not installed")
    command = [program, "-b", pipeline.kafka.bootstrap_servers, *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
    await process.communicate(text.encode())
    assert process.returncode == 0


async def test_a_record_that_kcat_writes_is_delivered(tmp_path: Path) -> None:
    payload = json.dumps({"email": "foreign@example.test", "code": "271828"})
    async with Pipeline(tmp_path) as pipeline:
        await kcat(pipeline, "-t", TOPIC, "-P", text=payload + "\n")
        await until(pipeline.mails, "the mail arrived")
        (mail,) = await pipeline.mails()
        assert mail["Subject"] == "Ваш одноразовый код"
        text = await pipeline.mail_text(mail["ID"])
    assert text.strip() == "Ваш код: 271828"
    assert code_of(text) == "271828"


async def test_garbage_ends_in_the_dlq_unchanged_and_stops_nobody(tmp_path: Path) -> None:
    async with Pipeline(tmp_path) as pipeline:
        await produce_between_garbage(pipeline, valid=20)
        await until(lambda: has_mails(pipeline, 20), "the valid mails arrived")
        await until(lambda: has_dead_letters(pipeline, len(GARBAGE)), "the garbage is in the DLQ")
        dead = await dead_letters(pipeline)
        assert "Traceback" not in pipeline.logs()
    assert sorted((letter.key or b"", letter.value or b"") for letter in dead) == sorted(
        (key or b"", value or b"") for key, value in GARBAGE
    )
    for letter in dead:
        assert letter.header["mt-error-class"]
        assert letter.header["mt-origin-topic"] == TOPIC.encode()
        assert letter.header["x-team"] == b"\xff"


async def produce_between_garbage(pipeline: Pipeline, *, valid: int) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=pipeline.kafka.bootstrap_servers, max_request_size=4_000_000
    )
    await producer.start()
    try:
        for number in range(valid):
            payload = json.dumps({"email": f"user{number}@example.test", "code": "314159"})
            await producer.send_and_wait(TOPIC, payload.encode(), partition=number % 6)
            if number < len(GARBAGE):
                key, value = GARBAGE[number]
                headers = [("x-team", b"\xff")]
                await producer.send_and_wait(
                    TOPIC, value, key, partition=number % 6, headers=headers
                )
    finally:
        await producer.stop()


async def has_mails(pipeline: Pipeline, count: int) -> bool:
    return len(await pipeline.mails()) >= count


async def dead_letters(pipeline: Pipeline) -> list[Stored]:
    return await read_everything(pipeline.kafka.bootstrap_servers, TOPIC, f"{TOPIC}.dlq")


async def has_dead_letters(pipeline: Pipeline, count: int) -> bool:
    return len(await dead_letters(pipeline)) >= count
