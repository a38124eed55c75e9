"""Users, challenges and limits in SQL: the ChallengeStore.

Rows are locked in the order limits, users, challenges everywhere, so that no two transactions wait
for each other on PostgreSQL.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, case, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_outbox import outbox_row
from mailtopic_signup.adapters.sql_tables import (
    address_limits,
    challenges,
    idempotent_answers,
    outbox,
    users,
)
from mailtopic_signup.domain.challenge import DAY_MS, Challenge, Delivery
from mailtopic_signup.domain.code import CodeMac
from mailtopic_signup.ports import (
    Begun,
    Delivered,
    IdempotentAnswer,
    NewChallenge,
    OutboxMail,
)

_UNSETTLED = (Delivery.QUEUED, Delivery.DEFERRED)
_READ = (
    select(
        challenges,
        users.c.address,
        address_limits.c.failures,
        address_limits.c.last_failure_at,
    )
    .join(users, users.c.id == challenges.c.user_id)
    .join(address_limits, address_limits.c.address_key == challenges.c.address_key)
)


class SqlChallenges:
    """See `ChallengeStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Both databases know the same ON CONFLICT; SQLAlchemy has an insert of its own for each.
        self._upsert: Any = sqlite_insert if database.is_sqlite else postgresql_insert

    async def begin(
        self,
        challenge: NewChallenge,
        mail: OutboxMail,
        *,
        next_mail_at: int,
        answer: IdempotentAnswer | None,
        body: bytes,
    ) -> Begun:
        """See `ChallengeStore.begin`."""
        async with self._database.write() as connection:
            if answer:
                earlier = await self._remember(connection, answer, challenge.created_at)
                if earlier:
                    return earlier
            is_granted = await self._take_mail(connection, challenge, mail, next_mail_at)
            user_id = await self._find_or_add_user(connection, challenge)
            await connection.execute(
                insert(challenges), _challenge_row(challenge, user_id, mail if is_granted else None)
            )
            if is_granted:
                await connection.execute(insert(outbox), outbox_row(mail))
        return Begun("started" if is_granted else "cooling", body)

    async def read(self, challenge_id: str) -> Challenge | None:
        """See `ChallengeStore.read`."""
        async with self._database.read() as connection:
            found = await connection.execute(_READ.where(challenges.c.id == challenge_id))
            row = found.one_or_none()
        return _challenge(row) if row else None

    async def count_try(
        self, challenge: Challenge, *, now_ms: int, max_tries: int, max_failures: int
    ) -> Challenge | None:
        """See `ChallengeStore.count_try`."""
        day_ago = now_ms - DAY_MS
        limits = address_limits.c
        is_over = limits.last_failure_at <= day_ago
        # The count starts again only after a day without any failure: thus no 24 hours, wherever
        # they begin, hold more than the maximum.
        count_failure = (
            update(address_limits)
            .where(limits.address_key == challenge.address_key)
            .where(or_(limits.failures < max_failures, is_over))
            .values(failures=case((is_over, 1), else_=limits.failures + 1), last_failure_at=now_ms)
            .returning(limits.failures)
        )
        count = (
            update(challenges)
            .where(challenges.c.id == challenge.id, challenges.c.tries < max_tries)
            .where(challenges.c.verified_at.is_(None), challenges.c.expires_at > now_ms)
            .values(tries=challenges.c.tries + 1)
            .returning(challenges.c.tries, challenges.c.code_key_id, challenges.c.code_digest)
        )
        async with self._database.write() as connection:
            failures = (await connection.execute(count_failure)).scalar_one_or_none()
            counted = (await connection.execute(count)).one_or_none() if failures else None
            if failures is None or counted is None:
                await connection.rollback()
                return None
        return replace(
            challenge,
            tries=counted.tries,
            code=CodeMac(counted.code_key_id, counted.code_digest),
            failures=failures,
            last_failure_at=now_ms,
        )

    async def verify(self, challenge: Challenge, *, now_ms: int) -> bool:
        """See `ChallengeStore.verify`."""
        forgive = (
            update(address_limits)
            .where(address_limits.c.address_key == challenge.address_key)
            .values(failures=0)
        )
        mark_user = (
            update(users)
            .where(users.c.id == challenge.user_id, users.c.verified_at.is_(None))
            .values(verified_at=now_ms)
        )
        mark = (
            update(challenges)
            .where(challenges.c.id == challenge.id, challenges.c.verified_at.is_(None))
            .where(challenges.c.expires_at > now_ms)
            .where(challenges.c.code_digest == challenge.code.digest)
            .values(verified_at=now_ms)
        )
        async with self._database.write() as connection:
            await connection.execute(forgive)
            await connection.execute(mark_user)
            marked = await connection.execute(mark)
            if marked.rowcount != 1:
                await connection.rollback()
                return False
        return True

    async def renew(
        self,
        challenge: Challenge,
        code: CodeMac,
        mail: OutboxMail,
        *,
        next_mail_at: int,
        max_tries: int,
    ) -> int | None:
        """See `ChallengeStore.renew`."""
        limits = address_limits.c
        take = (
            update(address_limits)
            .where(limits.address_key == challenge.address_key)
            .where(limits.next_mail_at <= mail.created_at)
            .values(next_mail_at=next_mail_at, last_mail_id=mail.id)
        )
        replace_code = (
            update(challenges)
            .where(challenges.c.id == challenge.id, challenges.c.verified_at.is_(None))
            .where(challenges.c.tries < max_tries)
            .values(
                code_key_id=code.key_id,
                code_digest=code.digest,
                expires_at=mail.expires_at,
                resend_after=next_mail_at,
                mail_id=mail.id,
                delivery=Delivery.QUEUED,
                delivery_at=None,
            )
        )
        async with self._database.write() as connection:
            if (await connection.execute(take)).rowcount != 1:
                key_is = limits.address_key == challenge.address_key
                found = await connection.execute(select(limits.next_mail_at).where(key_is))
                return int(found.scalar_one())
            if (await connection.execute(replace_code)).rowcount != 1:
                await connection.rollback()
                return mail.created_at
            await connection.execute(insert(outbox), outbox_row(mail))
        return None

    async def record_deliveries(self, news: Collection[Delivered]) -> None:
        """See `ChallengeStore.record_deliveries`."""
        async with self._database.write() as connection:
            for each in news:
                record = update(challenges).where(challenges.c.mail_id == each.mail_id)
                if not each.final:
                    record = record.where(challenges.c.delivery.in_(_UNSETTLED))
                await connection.execute(record.values(delivery=each.delivery, delivery_at=each.at))

    async def ping(self) -> None:
        """See `ChallengeStore.ping`."""
        async with self._database.read() as connection:
            await connection.execute(select(challenges.c.id).limit(1))

    async def _remember(
        self, connection: AsyncConnection, answer: IdempotentAnswer, now_ms: int
    ) -> Begun | None:
        table = idempotent_answers
        row = {
            "fingerprint": answer.fingerprint,
            "body": answer.body,
            "expires_at": answer.expires_at,
        }
        # On PostgreSQL a request with the same key waits here until the first one is committed.
        remembered = await connection.execute(
            self._upsert(table)
            .values(key=answer.key, **row)
            .on_conflict_do_update(
                index_elements=["key"], set_=row, where=table.c.expires_at <= now_ms
            )
            .returning(table.c.key)
        )
        if remembered.one_or_none():
            return None
        found = await connection.execute(
            select(table.c.fingerprint, table.c.body).where(table.c.key == answer.key)
        )
        earlier = found.one()
        if earlier.fingerprint != answer.fingerprint:
            return Begun("mismatch", b"")
        return Begun("replayed", earlier.body)

    async def _take_mail(
        self,
        connection: AsyncConnection,
        challenge: NewChallenge,
        mail: OutboxMail,
        next_mail_at: int,
    ) -> bool:
        limits = address_limits.c
        is_free = limits.next_mail_at <= challenge.created_at
        taken = await connection.execute(
            self._upsert(address_limits)
            .values(
                address_key=challenge.address_key,
                next_mail_at=next_mail_at,
                last_mail_id=mail.id,
                failures=0,
                last_failure_at=0,
            )
            .on_conflict_do_update(
                index_elements=["address_key"],
                set_={
                    "next_mail_at": case((is_free, next_mail_at), else_=limits.next_mail_at),
                    "last_mail_id": case((is_free, mail.id), else_=limits.last_mail_id),
                },
            )
            .returning(limits.last_mail_id)
        )
        return bool(taken.scalar_one() == mail.id)

    async def _find_or_add_user(self, connection: AsyncConnection, challenge: NewChallenge) -> Any:
        # An update that changes nothing, because only then the row is returned; known and unknown
        # addresses take the same way.
        added = await connection.execute(
            self._upsert(users)
            .values(
                id=challenge.user_id, address=challenge.address, created_at=challenge.created_at
            )
            .on_conflict_do_update(index_elements=["address"], set_={"address": challenge.address})
            .returning(users.c.id)
        )
        return added.scalar_one()


def _challenge_row(
    challenge: NewChallenge, user_id: object, mail: OutboxMail | None
) -> dict[str, object]:
    return {
        "id": challenge.id,
        "user_id": user_id,
        "address_key": challenge.address_key,
        "purpose": challenge.purpose,
        "locale": challenge.locale,
        "code_key_id": challenge.code.key_id,
        "code_digest": challenge.code.digest,
        "tries": 0,
        "created_at": challenge.created_at,
        "expires_at": challenge.expires_at,
        "resend_after": challenge.resend_after,
        "mail_id": mail.id if mail else None,
        "delivery": Delivery.QUEUED,
    }


def _challenge(row: Row[Any]) -> Challenge:
    return Challenge(
        id=row.id,
        user_id=row.user_id,
        address=row.address,
        address_key=row.address_key,
        purpose=row.purpose,
        locale=row.locale,
        code=CodeMac(row.code_key_id, row.code_digest),
        tries=row.tries,
        created_at=row.created_at,
        expires_at=row.expires_at,
        resend_after=row.resend_after,
        verified_at=row.verified_at,
        delivery=Delivery(row.delivery),
        failures=row.failures,
        last_failure_at=row.last_failure_at,
    )
