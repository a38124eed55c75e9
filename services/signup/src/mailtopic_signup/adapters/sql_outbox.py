"""The outbox in SQL: the OutboxStore."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, delete, func, or_, select, true, update

from mailtopic_signup.adapters.sql_database import Database, unlocked
from mailtopic_signup.adapters.sql_tables import idempotent_answers, outbox
from mailtopic_signup.ports import Backlog, LeasedMail, OutboxMail

AGGREGATE_TYPE = "mail"
_PURGE_LIMIT = 1000
_CLOCK_TOLERANCE_MS = 60_000
_NEXT_TOPIC = (
    select(func.min(outbox.c.topic))
    .where(outbox.c.published_at.is_(None))
    .where(outbox.c.topic > bindparam("last"))
)


class SqlOutbox:
    """See `OutboxStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lease(
        self, *, limit: int, now_ms: int, lease_ms: int, topic: str | None = None
    ) -> Sequence[LeasedMail]:
        """See `OutboxStore.lease`."""
        held_until = outbox.c.lease_until
        # A lease that ends much later than any that could be taken now is from before a clock was
        # set back. "Much", because other machines' clocks differ a little, and because our own time
        # was read before waiting for the database.
        latest_ms = now_ms + lease_ms + _CLOCK_TOLERANCE_MS
        is_free = or_(held_until.is_(None), held_until <= now_ms, held_until > latest_ms)
        # Always from the oldest on, never "id > last", which would skip a transaction that commits
        # late for ever.
        candidates = (
            select(outbox.c.id)
            .where(outbox.c.published_at.is_(None), is_free)
            .where(true() if topic is None else outbox.c.topic == topic)
            .order_by(outbox.c.created_at)
            .limit(limit)
        )
        take = (
            update(outbox)
            .where(outbox.c.id.in_(unlocked(candidates)))
            .values(lease_until=now_ms + lease_ms, attempts=outbox.c.attempts + 1)
            .returning(outbox)
        )
        rows = await self._database.write(lambda connection: connection.execute(take).all())
        return [_leased(row) for row in sorted(rows, key=lambda row: row.created_at)]

    async def topics(self) -> Collection[str]:
        """See `OutboxStore.topics`.

        It jumps from topic to topic along the index, instead of reading the whole backlog.
        """

        def work(connection: Connection) -> list[str]:
            found: list[str] = []
            while True:
                last = found[-1] if found else ""
                following = connection.execute(_NEXT_TOPIC, {"last": last}).scalar_one()
                if following is None:
                    return found
                found.append(following)

        return await self._database.read(work)

    async def mark_published(self, mails: Collection[UUID], *, now_ms: int) -> None:
        """See `OutboxStore.mark_published`."""
        mark = (
            update(outbox)
            .where(outbox.c.id.in_(mails))
            .values(published_at=now_ms, lease_until=None)
        )
        await self._database.write(lambda connection: connection.execute(mark))

    async def postpone(self, mails: Collection[LeasedMail], *, until_ms: int) -> None:
        """See `OutboxStore.postpone`."""

        def work(connection: Connection) -> None:
            for lease_until in {leased.lease_until for leased in mails}:
                ids = [leased.mail.id for leased in mails if leased.lease_until == lease_until]
                connection.execute(
                    update(outbox)
                    .where(outbox.c.id.in_(ids), outbox.c.lease_until == lease_until)
                    .where(outbox.c.published_at.is_(None))
                    .values(lease_until=until_ms)
                )

        await self._database.write(work)

    async def purge(self, *, published_before_ms: int, answers_before_ms: int) -> int:
        """See `OutboxStore.purge`."""
        old = (
            select(outbox.c.id)
            .where(outbox.c.published_at < published_before_ms)
            # in batches, so that no signup waits for a long delete
            .limit(_PURGE_LIMIT)
        )
        delete_mails = delete(outbox).where(outbox.c.id.in_(old.scalar_subquery()))
        answers = idempotent_answers.c
        old_answers = (
            select(answers.key).where(answers.expires_at <= answers_before_ms).limit(_PURGE_LIMIT)
        )
        delete_answers = delete(idempotent_answers).where(
            answers.key.in_(old_answers.scalar_subquery())
        )

        def work(connection: Connection) -> int:
            mails = connection.execute(delete_mails).rowcount
            return mails + connection.execute(delete_answers).rowcount

        return await self._database.write(work)

    async def backlog(self) -> Backlog:
        """See `OutboxStore.backlog`."""
        count = select(func.count(), func.min(outbox.c.created_at)).where(
            outbox.c.published_at.is_(None)
        )
        pending, oldest_at = await self._database.read(
            lambda connection: connection.execute(count).one()
        )
        return Backlog(pending, oldest_at)


def outbox_row(mail: OutboxMail) -> dict[str, object]:
    """Return a mail as a row of the outbox."""
    return {
        "id": mail.id,
        "aggregatetype": AGGREGATE_TYPE,
        "aggregateid": mail.key,
        "type": mail.type,
        "payload": mail.payload,
        "topic": mail.topic,
        "created_at": mail.created_at,
        "expires_at": mail.expires_at,
        "traceparent": mail.traceparent,
        "attempts": 0,
    }


def _leased(row: Row[Any]) -> LeasedMail:
    mail = OutboxMail(
        id=row.id,
        topic=row.topic,
        key=row.aggregateid,
        type=row.type,
        payload=row.payload,
        created_at=row.created_at,
        expires_at=row.expires_at,
        traceparent=row.traceparent,
    )
    return LeasedMail(mail, row.lease_until, row.attempts)
