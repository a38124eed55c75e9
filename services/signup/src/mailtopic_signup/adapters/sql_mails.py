"""Mails of other services in SQL: the MailStore."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, insert, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from mailtopic_contract import Outcome
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_outbox import outbox_row
from mailtopic_signup.adapters.sql_suppressions import Diversion
from mailtopic_signup.adapters.sql_tables import idempotent_answers, mails, outbox
from mailtopic_signup.ports import IdempotentAnswer, OutboxMail, SentMail, Taken

_PURGE_LIMIT = 5000
_ADD = insert(mails)
_ADD_TO_OUTBOX = insert(outbox)
_READ = select(mails).where(mails.c.id == bindparam("wanted"))
_FIND_ANSWER = select(idempotent_answers.c.fingerprint, idempotent_answers.c.body).where(
    idempotent_answers.c.key == bindparam("answer_key")
)


class SqlMails:
    """See `MailStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._claim = _claim(sqlite_insert if database.is_sqlite else postgresql_insert)
        self._divert = Diversion(by_person=False, is_sqlite=database.is_sqlite)

    async def take(
        self,
        mail: OutboxMail,
        sent: SentMail,
        *,
        answer: IdempotentAnswer | None,
        body: bytes,
        fingerprints: Collection[str],
    ) -> Taken:
        """See `MailStore.take`."""
        row = {
            "id": sent.id,
            "topic": sent.topic,
            "sent_by": sent.sent_by,
            "recipient_key": sent.recipient_key,
            "recipient": sent.recipient,
            "accepted_at": sent.accepted_at,
            "expires_at": sent.expires_at,
        }

        def work(connection: Connection) -> Taken:
            if answer and not self._is_first(connection, answer, mail.created_at):
                return _earlier(connection, answer, fingerprints)
            connection.execute(_ADD, row)
            (stored,) = self._divert.of(connection, [(sent.recipient_key, mail)])
            connection.execute(_ADD_TO_OUTBOX, outbox_row(stored))
            return Taken("stored", body)

        return await self._database.write(work)

    async def read(self, mail_id: UUID) -> SentMail | None:
        """See `MailStore.read`."""
        wanted = {"wanted": mail_id}
        row = await self._database.read(
            lambda connection: connection.execute(_READ, wanted).one_or_none()
        )
        if row is None:
            return None
        fields: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public way
        return SentMail(**fields | {"outcome": Outcome(row.outcome) if row.outcome else None})

    async def purge(self, *, expired_before_ms: int) -> int:
        """See `MailStore.purge`; a batch at a time."""
        old = select(mails.c.id).where(mails.c.expires_at < expired_before_ms).limit(_PURGE_LIMIT)
        forget = delete(mails).where(mails.c.id.in_(old.scalar_subquery()))
        return await self._database.write(lambda connection: connection.execute(forget).rowcount)

    def _is_first(self, connection: Connection, answer: IdempotentAnswer, now_ms: int) -> bool:
        row = {
            "key": answer.key,
            "fingerprint": answer.fingerprint,
            "body": answer.body,
            "expires_at": answer.expires_at,
            "now": now_ms,
        }
        return connection.execute(self._claim, row).one_or_none() is not None


def _earlier(
    connection: Connection, answer: IdempotentAnswer, fingerprints: Collection[str]
) -> Taken:
    earlier = connection.execute(_FIND_ANSWER, {"answer_key": answer.key}).one()
    if earlier.fingerprint not in fingerprints:
        return Taken("mismatch", b"")
    return Taken("replayed", earlier.body)


def _claim(upsert: Any) -> Executable:
    table = idempotent_answers
    new = upsert(table)
    # On PostgreSQL a request with the same key waits here until the first one is committed.
    statement: Executable = new.on_conflict_do_update(
        index_elements=["key"],
        set_={name: new.excluded[name] for name in ("fingerprint", "body", "expires_at")},
        where=table.c.expires_at <= bindparam("now"),
    ).returning(table.c.key)
    return statement
