"""Suppressed recipients in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, select, update

from mailtopic_contract import Address
from mailtopic_signup.adapters.sql_bulk import Rows
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_outbox import outbox_row
from mailtopic_signup.adapters.sql_tables import outbox, suppressions
from mailtopic_signup.domain.challenge import address_key
from mailtopic_signup.outbox import suppressed_instead
from mailtopic_signup.ports import OutboxMail

_PURGE_LIMIT = 5000
_REPLACED = ("topic", "aggregateid", "type", "payload")
_INSTEAD = {
    "id": outbox.c.id.type,
    "address_key": suppressions.c.address_key.type,
    "now": outbox.c.created_at.type,
} | {name: outbox.c[name].type for name in _REPLACED}


@dataclass(frozen=True, slots=True)
class Suppression:
    """A recipient who gets no mail: redacted, why, the relay's reply; times are epoch ms."""

    recipient: str
    reason: str
    smtp: str | None
    bounced_at: int
    bypass_after: int
    until: int


class SqlSuppressions:
    """Lists suppressed recipients, and lets them have mails again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, *, now_ms: int) -> Sequence[Suppression]:
        """Return all that hold, the newest first."""
        columns = [suppressions.c[name] for name in Suppression.__slots__]
        wanted = (
            select(*columns)
            .where(suppressions.c.until > now_ms)
            .order_by(suppressions.c.bounced_at.desc())
        )
        rows = await self._database.read(lambda connection: connection.execute(wanted).all())
        return [Suppression(*row) for row in rows]

    async def lift(self, address: Address) -> bool:
        """Let an address have mails again; tells whether it was suppressed."""
        lift = delete(suppressions).where(suppressions.c.address_key == address_key(address))
        return await self._database.write(lambda connection: connection.execute(lift).rowcount == 1)

    async def purge(self, *, now_ms: int) -> int:
        """Delete what doesn't hold any more, a portion at a time; returns how many rows went."""
        over = select(suppressions.c.address_key).where(suppressions.c.until <= now_ms)
        forget = delete(suppressions).where(
            suppressions.c.address_key.in_(over.limit(_PURGE_LIMIT).scalar_subquery())
        )
        return await self._database.write(lambda connection: connection.execute(forget).rowcount)


class Diversion:
    """Turns mails that are in the outbox into the outcome "suppressed", if their recipients are.

    It is one statement for everybody, in the transaction that stored the mails: neither an answer
    nor its time tells who is suppressed.
    """

    def __init__(self, *, by_person: bool, is_sqlite: bool) -> None:
        self._rows = Rows(_INSTEAD, is_sqlite=is_sqlite)
        rows, table = self._rows, suppressions.c
        ends = [table.until, table.bypass_after] if by_person else [table.until]
        holds = exists().where(table.address_key == rows["address_key"])
        self._divert = (
            update(outbox)
            .where(outbox.c.id == rows["id"])
            .where(holds.where(*(end > rows["now"] for end in ends)))
            .values({name: rows[name] for name in _REPLACED})
        )

    def run(
        self, connection: Connection, mails: Sequence[OutboxMail], address_keys: Sequence[str]
    ) -> None:
        """Divert mails; their recipients' keys come in the same order."""
        rows = []
        for mail, key in zip(mails, address_keys, strict=True):
            instead = outbox_row(suppressed_instead(mail))
            row = {name: instead[name] for name in _REPLACED}
            rows.append(row | {"id": mail.id, "address_key": key, "now": mail.created_at})
        self._rows.run(connection, self._divert, rows)
