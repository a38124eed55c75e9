"""aiokafka and a pool of aiosmtplib's sessions: so many mails at once as there are sessions."""

import asyncio

import uvloop
from aiokafka import AIOKafkaConsumer
from commits import Progress, commit_often
from original_settings import BROKERS, CONNECTIONS, GROUP, TOPIC
from sessions import Sessions
from template import recipient_and_message


async def main() -> None:
    """Consume for ever."""
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=BROKERS,
        group_id=GROUP,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    progress, sessions = Progress(), Sessions()
    records: asyncio.Queue = asyncio.Queue(4 * CONNECTIONS)

    async def work() -> None:
        while True:
            place, record = await records.get()
            await sessions.send(*recipient_and_message(record.value))
            progress.done(place, record.offset)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(commit_often(consumer, progress))
        for _ in range(CONNECTIONS):
            tasks.create_task(work())
        while True:
            for place, batch in (await consumer.getmany(timeout_ms=200, max_records=500)).items():
                for record in batch:
                    progress.begun(place, record.offset)
                    await records.put((place, record))


uvloop.run(main())
