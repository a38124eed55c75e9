"""Deletes challenges, and rows kept only for them: the RetentionStore."""

from sqlalchemy import Connection, Executable, delete, exists, select
from sqlalchemy.exc import IntegrityError

from mailtopic_signup.adapters.sql_database import Database, unlocked
from mailtopic_signup.adapters.sql_tables import address_limits, challenges, users

_PORTION = 1000
"""Rows of a transaction: a few milliseconds, during which a signup may have to wait on SQLite."""


class SqlRetention:
    """See `RetentionStore`. Locked rows are skipped, and found next time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def purge(self, *, begun_before_ms: int) -> int:
        """See `RetentionStore.purge`."""
        gone = await self._delete(_challenges_before(begun_before_ms))
        gone += await self._delete(_limits_before(begun_before_ms))
        return gone + await self._delete(_users_before(begun_before_ms))

    async def _delete(self, statement: Executable) -> int:
        def work(connection: Connection) -> int:
            # Not the row count: SQLite's driver has none for a statement that begins with WITH.
            return len(connection.execute(statement).all())

        try:
            return await self._database.write(work)
        except IntegrityError:
            # On PostgreSQL there was a signup with an address between select and delete; the user
            # is needed again, and nothing was deleted.
            return 0


def _challenges_before(time_ms: int) -> Executable:
    old = (
        select(challenges.c.id)
        .where(challenges.c.created_at < time_ms)
        .order_by(challenges.c.created_at)
        .limit(_PORTION)
    )
    return delete(challenges).where(challenges.c.id.in_(unlocked(old))).returning(challenges.c.id)


def _limits_before(time_ms: int) -> Executable:
    limits = address_limits.c
    old = (
        select(limits.address_key)
        # Every challenge sets asked_at, so none that uses these counts is left. The other two are
        # for rows that a version before 0002 wrote.
        .where(limits.asked_at < time_ms)
        .where(limits.next_mail_at < time_ms, limits.last_failure_at < time_ms)
        # A resend may have prolonged a code a day after the signup.
        .where(limits.short_until < time_ms, limits.long_until < time_ms)
        .order_by(limits.asked_at)
        .limit(_PORTION)
    )
    return (
        delete(address_limits)
        .where(limits.address_key.in_(unlocked(old)))
        .returning(limits.address_key)
    )


def _users_before(time_ms: int) -> Executable:
    old = (
        select(users.c.id)
        .where(users.c.verified_at.is_(None), users.c.created_at < time_ms)
        .where(~exists().where(challenges.c.user_id == users.c.id))
        .order_by(users.c.created_at)
        .limit(_PORTION)
    )
    return delete(users).where(users.c.id.in_(unlocked(old))).returning(users.c.id)
