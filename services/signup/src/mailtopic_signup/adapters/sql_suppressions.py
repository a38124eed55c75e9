"""Suppressed recipients in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, select, update

from mailtopic_contract import Address
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_tables import outbox, suppressions
from mailtopic_signup.domain.challenge import address_key
from mailtopic_signup.outbox import suppressed_instead
from mailtopic_signup.ports import OutboxMail

_PURGE_LIMIT = 5000
_HOLDS = (
    select(suppressions.c.address_key)
    .where(suppressions.c.address_key == bindparam("of"))
    .where(suppressions.c.until > bindparam("now"))
)
_HOLDS_A_PERSON = _HOLDS.where(suppressions.c.bypass_after > bindparam("now"))


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


def divert(
    connection: Connection, mail: OutboxMail, recipient_key: str, *, by_person: bool
) -> None:
    """Turn a mail that is in the outbox into the outcome "suppressed", if its recipient is.

    It is one statement for everybody, in the transaction that stored the mail: neither an answer
    nor its time tells who is suppressed.
    """
    instead = suppressed_instead(mail)
    holds = _HOLDS_A_PERSON if by_person else _HOLDS
    connection.execute(
        update(outbox)
        .where(outbox.c.id == mail.id, holds.exists())
        .values(
            topic=instead.topic,
            aggregateid=instead.key,
            type=instead.type,
            payload=instead.payload,
        ),
        {"of": recipient_key, "now": mail.created_at},
    )
