"""What foreign clients put on the topic: the original payload, and garbage."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from support.conditions import until
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
        dead = await read_all(pipeline, f"{TOPIC}.dlq", count=len(GARBAGE))
        assert "Traceback" not in pipeline.logs()
    assert {(key, value) for key, value, _ in dead} == set(GARBAGE)
    for _, _, headers in dead:
        assert headers["mt-error-class"]
        assert headers["mt-origin-topic"] == TOPIC.encode()
        assert headers["x-team"] == b"\xff"


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


async def read_all(
    pipeline: Pipeline, topic: str, *, count: int
) -> Sequence[tuple[bytes | None, bytes | None, dict[str, bytes]]]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=pipeline.kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8_000_000,
    )
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            records = [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()
    return [(record.key, record.value, dict(record.headers)) for record in records]
