"""Outcomes of mails, in SQL: the DeliveryStore.

Events come in batches, so each statement is run once for a whole batch.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Executable,
    Table,
    Update,
    bindparam,
    delete,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from mailtopic_contract import Address, Outcome, parse_address
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_tables import challenges, mails, suppressions, users
from mailtopic_signup.domain.challenge import Delivery
from mailtopic_signup.domain.suppression import rule_of
from mailtopic_signup.ports import Delivered

_OF: BindParameter[Any] = bindparam("mail")
# No IN: it can't take the parameters of a whole batch.
_IS_UNSETTLED = or_(
    challenges.c.delivery == Delivery.QUEUED, challenges.c.delivery == Delivery.DEFERRED
)
_IS_REFUSED = or_(
    challenges.c.delivery == Delivery.BOUNCED, challenges.c.delivery == Delivery.FAILED
)

_TELL_CHALLENGE = (
    update(challenges)
    .where(challenges.c.mail_id == _OF)
    .values(delivery=bindparam("delivery"), delivery_at=bindparam("at"))
)
_TELL_MAIL = (
    update(mails)
    .where(mails.c.id == _OF)
    .values(outcome=bindparam("outcome"), outcome_at=bindparam("at"), smtp=bindparam("smtp"))
)
_FINAL: tuple[Update, ...] = (_TELL_CHALLENGE, _TELL_MAIL)
_PASSING: tuple[Update, ...] = (
    _TELL_CHALLENGE.where(_IS_UNSETTLED),
    _TELL_MAIL.where(mails.c.outcome.is_(None) | (mails.c.outcome == Outcome.DEFERRED)),
)
# A bounce that was corrected; a later one, possibly in the same batch, still counts.
_TAKEN_BACK: tuple[Update, ...] = (
    _TELL_CHALLENGE.where(_IS_REFUSED).where(challenges.c.delivery_at <= bindparam("at")),
    _TELL_MAIL.where(mails.c.outcome == Outcome.BOUNCED).where(
        mails.c.outcome_at <= bindparam("at")
    ),
)
_KEYS_OF = union_all(
    select(challenges.c.address_key).where(challenges.c.mail_id == _OF),
    select(mails.c.recipient_key).where(mails.c.id == _OF),
)
_LIFT = (
    delete(suppressions)
    .where(suppressions.c.address_key.in_(_KEYS_OF))
    .where(suppressions.c.bounced_at <= bindparam("at"))
)
_ANY_SUPPRESSION = select(suppressions.c.bounced_at).limit(1)
_RECIPIENT_OF_CHALLENGE = (
    select(challenges.c.address_key, users.c.address)
    .join(users, users.c.id == challenges.c.user_id)
    .where(challenges.c.mail_id == _OF)
    .limit(1)
)
_RECIPIENT_OF_MAIL = select(mails.c.recipient_key, mails.c.recipient).where(mails.c.id == _OF)


class SqlDeliveries:
    """See `DeliveryStore`. It also maintains the list of suppressed recipients."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._suppress = _suppress(sqlite_insert if database.is_sqlite else postgresql_insert)

    async def record(self, news: Sequence[Delivered]) -> None:
        """See `DeliveryStore.record`."""
        final = [_row(each) for each in news if each.outcome.final]
        passing = [_row(each) for each in news if not each.outcome.final]
        taken_back = [_row(each) for each in news if each.taken_back]
        bounced = [each for each in news if rule_of(each.outcome, each.reply_class)]
        lifting = [
            {"mail": each.mail_id, "at": each.at}
            for each in news
            if each.outcome is Outcome.ACCEPTED or each.taken_back
        ]

        def work(connection: Connection) -> None:
            for statements, rows in (
                (_FINAL, final),
                (_PASSING, passing),
                (_TAKEN_BACK, taken_back),
            ):
                for statement in statements if rows else ():
                    connection.execute(statement, rows)
            for each in bounced:
                self._remember_bounce(connection, each)
            if lifting and connection.execute(_ANY_SUPPRESSION).first():
                connection.execute(_LIFT, lifting)

        await self._database.write(work)

    def _remember_bounce(self, connection: Connection, bounce: Delivered) -> None:
        recipient = _recipient(connection, bounce)
        rule = rule_of(bounce.outcome, bounce.reply_class)
        if recipient is None or rule is None:
            return
        key, redacted = recipient
        connection.execute(
            self._suppress,
            {
                "address_key": key,
                "recipient": redacted,
                "reason": bounce.reply_class,
                "smtp": bounce.smtp,
                "bounced_at": bounce.at,
                "bypass_after": bounce.at + rule.person_after_ms,
                "until": bounce.at + rule.lasts_ms,
            },
        )


def _row(news: Delivered) -> dict[str, Any]:
    return {
        "mail": news.mail_id,
        "delivery": news.delivery,
        "outcome": news.outcome,
        "at": news.at,
        "smtp": news.smtp,
    }


def _recipient(connection: Connection, bounce: Delivered) -> tuple[str, str] | None:
    of = {"mail": bounce.mail_id}
    challenge = connection.execute(_RECIPIENT_OF_CHALLENGE, of).first()
    if challenge:
        address: Address = parse_address(challenge.address)
        return challenge.address_key, address.redacted
    mail = connection.execute(_RECIPIENT_OF_MAIL, of).first()
    return (mail.recipient_key, mail.recipient) if mail else None


def _suppress(upsert: Any) -> Executable:
    table: Table = suppressions
    new = upsert(table)
    # An event may be delivered again, and an old one late: the newest bounce counts.
    statement: Executable = new.on_conflict_do_update(
        index_elements=["address_key"],
        set_={
            name: new.excluded[name]
            for name in ("recipient", "reason", "smtp", "bounced_at", "bypass_after", "until")
        },
        where=table.c.bounced_at <= new.excluded.bounced_at,
    )
    return statement
