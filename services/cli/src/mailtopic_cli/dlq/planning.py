"""Finds out which dead letters may be replayed: reads the DLQ, N.status and N, in this order."""

import re
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import aclosing

from mailtopic_cli.dlq.plan import ReplayPlan
from mailtopic_cli.dlq.ports import TopicRecord
from mailtopic_cli.dlq.selection import Selection
from mailtopic_cli.dlq.session import Session
from mailtopic_contract import (
    LegacyDefaults,
    MailRecord,
    RecordError,
    RecordOrigin,
    StatusEvent,
    decode_record,
    decode_status,
)

CLOCK_SKEW_MS = 600_000
"""Allowance for clock differences between the machines that wrote the records."""

_PARTITION_KEY = re.compile(rb"[0-9a-f]{16}")


async def make_plan(
    session: Session, plan: ReplayPlan, selection: Selection, *, superseding: Collection[str]
) -> None:
    """Fill a plan with the selected letters, and judge each of them.

    Records that retention has removed from N and N.status can't be considered: a removed newer
    mail supersedes nothing.
    """
    async for letter in session.letters(selection):
        plan.add(letter, now_ms=session.clock.now_ms())
    if plan.oldest_ms is not None:
        since_ms = max(plan.oldest_ms - CLOCK_SKEW_MS, 0)
        async for batch in _all_of(session, session.names.status, since_ms):
            plan.judge_by_events(_events(batch))
        plan.judge_among_letters(superseding)
        if superseding and plan.planned:
            async for batch in _all_of(session, session.names.main, since_ms):
                plan.judge_by_newer(_newer(session.legacy, plan, superseding, batch))
    plan.close_judgement()
    session.progress.clear()


async def _all_of(
    session: Session, topic: str, since_ms: int
) -> AsyncIterator[Sequence[TopicRecord]]:
    read = 0
    for partition in range(await session.reader.partitions(topic)):
        reading = session.reader.read(topic, partition, since_ms=since_ms)
        async with aclosing(reading) as batches:
            async for batch in batches:
                yield batch
                read += len(batch)
                session.progress.at(f"Reading {topic}", read)


def _events(batch: Sequence[TopicRecord]) -> Iterator[StatusEvent]:
    for record in batch:
        try:
            yield decode_status(record.value)
        except RecordError:
            continue


def _newer(
    legacy: LegacyDefaults,
    plan: ReplayPlan,
    superseding: Collection[str],
    batch: Sequence[TopicRecord],
) -> Iterator[MailRecord]:
    for record in batch:
        key = record.key
        # Most records are for other recipients: the key shows that without decoding.
        if key and _PARTITION_KEY.fullmatch(key) and not plan.has_recipient(key):
            continue
        origin = RecordOrigin(record.topic, record.partition, record.offset, record.timestamp_ms)
        try:
            mail = decode_record(record.value, origin=origin, legacy=legacy)
        except RecordError:
            continue
        if mail.purpose in superseding:
            yield mail
