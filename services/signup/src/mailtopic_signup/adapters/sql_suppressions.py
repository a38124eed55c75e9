"""Suppressed recipients in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select

from mailtopic_contract import Address
from mailtopic_signup.adapters.sql_bulk import Lookup
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_tables import suppressions
from mailtopic_signup.domain.mailbox import address_key
from mailtopic_signup.outbox import suppressed_instead
from mailtopic_signup.ports import OutboxMail

_PURGE_LIMIT = 5000


@dataclass(frozen=True, slots=True)
class Suppression:
    """A suppressed recipient: redacted address, reason, the relay's reply; times are epoch ms."""

    recipient: str
    reason: str
    smtp: str | None
    bounced_at: int
    bypass_after: int
    until: int


class SqlSuppressions:
    """Lists suppressed recipients, and lifts suppressions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, *, now_ms: int) -> Sequence[Suppression]:
        """Return all that are in force, the newest first."""
        columns = [suppressions.c[name] for name in Suppression.__slots__]
        wanted = (
            select(*columns)
            .where(suppressions.c.until > now_ms)
            .order_by(suppressions.c.bounced_at.desc())
        )
        rows = await self._database.read(lambda connection: connection.execute(wanted).all())
        return [Suppression(*row) for row in rows]

    async def lift(self, address: Address) -> bool:
        """Lift an address's suppression; returns whether it was suppressed."""
        lift = delete(suppressions).where(suppressions.c.address_key == address_key(address))
        return await self._database.write(lambda connection: connection.execute(lift).rowcount == 1)

    async def purge(self, *, now_ms: int) -> int:
        """Delete expired suppressions, a batch at a time; returns the number of rows deleted."""
        over = select(suppressions.c.address_key).where(suppressions.c.until <= now_ms)
        forget = delete(suppressions).where(
            suppressions.c.address_key.in_(over.limit(_PURGE_LIMIT).scalar_subquery())
        )
        return await self._database.write(lambda connection: connection.execute(forget).rowcount)


class Diversion:
    """Replaces mails by the outcome "suppressed", if their recipients are suppressed.

    It is one statement for all mails, in the transaction that stores them: neither an answer nor
    its timing reveals a suppression.
    """

    def __init__(self, *, by_person: bool, is_sqlite: bool) -> None:
        self._by_person = by_person
        table = suppressions.c
        columns = (table.address_key, table.until, table.bypass_after)
        self._find = Lookup(table.address_key, columns, is_sqlite=is_sqlite)

    def of(
        self, connection: Connection, mails: Sequence[tuple[str, OutboxMail]]
    ) -> list[OutboxMail]:
        """Return what to store for mails; each is preceded by its recipient's address key."""
        rows = self._find.run(connection, [key for key, _ in mails])
        found = {row.address_key: row for row in rows}
        # Made for every mail, so that timing doesn't reveal a suppression.
        outcomes = [suppressed_instead(mail) for _, mail in mails]
        return [
            outcome if self._holds(found.get(key), mail.created_at) else mail
            for (key, mail), outcome in zip(mails, outcomes, strict=True)
        ]

    def _holds(self, found: Any, now_ms: int) -> bool:
        if found is None or found.until <= now_ms:
            return False
        return not self._by_person or bool(found.bypass_after > now_ms)
