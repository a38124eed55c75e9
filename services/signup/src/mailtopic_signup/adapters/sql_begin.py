"""Signups in SQL: a group in one transaction, with as many statements as a single one.

Rows are locked in the order limits, users, and among limits in the order of their keys: no two
groups, of any process, deadlock on PostgreSQL. Users are locked only while their limits row is
held, so their order doesn't matter.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection, Executable, insert

from mailtopic_signup.adapters.sql_answers import SqlAnswers
from mailtopic_signup.adapters.sql_bulk import Lookup, Rows, upsert_into
from mailtopic_signup.adapters.sql_mail_caps import FIRST_MAIL, take_first_mails
from mailtopic_signup.adapters.sql_outbox import outbox_row
from mailtopic_signup.adapters.sql_rows import (
    CODE_COLUMNS,
    challenge_row,
    latest_mail,
    mailed_code,
)
from mailtopic_signup.adapters.sql_suppressions import Diversion
from mailtopic_signup.adapters.sql_tables import (
    address_limits,
    challenges,
    outbox,
    users,
)
from mailtopic_signup.domain.challenge import MailCaps
from mailtopic_signup.domain.code import new_seed
from mailtopic_signup.ports import Begun, IdempotentAnswer, MailOrder, NewChallenge, OutboxMail

_LATEST = ("id", "mail_id", "delivery", "delivery_at")
_LIMITS = ("address_key", "last_challenge_id", *CODE_COLUMNS)
_USER = {name: users.c[name].type for name in ("id", "address", "created_at")}
_CHALLENGE = {each.name: each.type for each in challenges.c if each.name != "verified_at"}
_MAIL = {
    column.name: column.type
    for column in outbox.c
    if column.name not in {"lease_until", "published_at"}
}


@dataclass(frozen=True, slots=True, repr=False)
class Signup:
    """What one signup stores; see `ChallengeStore.begin`."""

    challenge: NewChallenge
    order: MailOrder
    answer: IdempotentAnswer | None
    body: bytes


class SqlBegin:
    """Stores groups of signups; a group has at most one signup for a mailbox.

    The same statements run whether addresses are known or not.
    """

    def __init__(self, caps: MailCaps, *, is_sqlite: bool) -> None:
        # Made once: building a statement takes longer than running it.
        self._is_sqlite = is_sqlite
        self._answers = SqlAnswers(is_sqlite=is_sqlite)
        self._limits = Rows(FIRST_MAIL, is_sqlite=is_sqlite)
        self._take_mails = take_first_mails(self._limits, caps, is_sqlite=is_sqlite)
        key = address_limits.c.address_key
        of_limits = [address_limits.c[name] for name in _LIMITS]
        self._find_limits = Lookup(key, of_limits, is_sqlite=is_sqlite)
        self._users = Rows(_USER, is_sqlite=is_sqlite)
        self._add_users = _add_users(self._users, is_sqlite=is_sqlite)
        of_user = (users.c.address, users.c.id, users.c.verified_at)
        self._find_users = Lookup(users.c.address, of_user, is_sqlite=is_sqlite)
        of_latest = [challenges.c[name] for name in _LATEST]
        self._find_latest = Lookup(challenges.c.id, of_latest, is_sqlite=is_sqlite)
        self._challenges = Rows(_CHALLENGE, is_sqlite=is_sqlite)
        self._add_challenges = insert(challenges).from_select(
            list(_CHALLENGE), self._challenges.select(*_columns(self._challenges, _CHALLENGE))
        )
        self._outbox = Rows(_MAIL | {"is_granted": Boolean()}, is_sqlite=is_sqlite)
        # The statement is the same for an address without a grant: its row is left out here.
        self._add_mails = insert(outbox).from_select(
            list(_MAIL),
            self._outbox.select(*_columns(self._outbox, _MAIL)).where(self._outbox["is_granted"]),
        )
        self._divert = Diversion(by_person=True, is_sqlite=is_sqlite)

    def store(self, connection: Connection, signups: Sequence[Signup]) -> list[Begun]:
        """Store signups; returns the result of each, in their order."""
        begun = self._answered(connection, signups)
        fresh = [each for each in signups if each.challenge.id not in begun]
        if fresh:
            fresh.sort(key=lambda each: each.challenge.mailbox_key)
            begun |= self._store(connection, fresh)
        return [begun[each.challenge.id] for each in signups]

    def _answered(self, connection: Connection, signups: Sequence[Signup]) -> dict[str, Begun]:
        """Return the results of repeated requests, by their challenges' ids."""
        answers = [each.answer for each in signups if each.answer]
        if not answers:
            return {}
        now_ms = max(each.challenge.created_at for each in signups)
        found = self._answers.remember(connection, answers, now_ms=now_ms)
        return {
            each.challenge.id: found[each.answer.key]
            for each in signups
            if each.answer and each.answer.key in found
        }

    def _store(self, connection: Connection, signups: Sequence[Signup]) -> dict[str, Begun]:
        limits = self._take(connection, signups)
        found = self._find_or_add_users(connection, signups)
        latest_ids = [row.last_challenge_id for row in limits.values()]
        latest = {row.id: row for row in self._find_latest.run(connection, latest_ids)}
        begun, rows, mails, grants = {}, [], [], []
        for each in signups:
            challenge, order = each.challenge, each.order
            row, user = limits[challenge.mailbox_key], found[challenge.address]
            is_granted = row.last_challenge_id == challenge.id
            is_known = user.verified_at is not None
            # Made for every address, so that timing doesn't depend on it.
            code = mailed_code(row, order, challenge.id, challenge.expires_at)
            mail = order.make(code, is_known=is_known)
            added = challenge_row(challenge, user.id, order.id)
            rows.append(
                added if is_granted else added | latest_mail(latest.get(row.last_challenge_id))
            )
            mails.append((challenge.address_key, mail))
            grants.append({"is_granted": is_granted})
            begun[challenge.id] = _begun(each, mail, is_granted=is_granted, is_known=is_known)
        self._challenges.run(connection, self._add_challenges, rows)
        stored = map(outbox_row, self._divert.of(connection, mails))
        queued = [row | grant for row, grant in zip(stored, grants, strict=True)]
        self._outbox.run(connection, self._add_mails, queued)
        return begun

    def _take(self, connection: Connection, signups: Sequence[Signup]) -> dict[str, Any]:
        """Take each address's mail, if it may get one; returns limits by mailbox_key."""
        rows = [
            {
                "address_key": each.challenge.mailbox_key,
                "last_mail_id": each.order.id,
                "last_challenge_id": each.challenge.id,
                "code_seed": new_seed(),
                "code_key_id": each.order.key_id,
                "now": each.challenge.created_at,
            }
            for each in signups
        ]
        self._limits.run(connection, self._take_mails, rows)
        found = self._find_limits.run(connection, [row["address_key"] for row in rows])
        return {row.address_key: row for row in found}

    def _find_or_add_users(
        self, connection: Connection, signups: Sequence[Signup]
    ) -> dict[str, Any]:
        rows = [
            {
                "id": each.challenge.user_id,
                "address": each.challenge.address,
                "created_at": each.challenge.created_at,
            }
            for each in signups
        ]
        self._users.run(connection, self._add_users, rows)
        found = self._find_users.run(connection, [row["address"] for row in rows])
        return {row.address: row for row in found}


def _columns(rows: Rows, names: Iterable[str]) -> list[ColumnElement[Any]]:
    return [rows[name] for name in names]


def _begun(signup: Signup, mail: OutboxMail, *, is_granted: bool, is_known: bool) -> Begun:
    if not is_granted:
        return Begun("cooling", signup.body)
    return Begun("known" if is_known else "started", signup.body, mail)


def _add_users(rows: Rows, *, is_sqlite: bool) -> Executable:
    new = upsert_into(users, is_sqlite=is_sqlite)
    new = new.from_select(list(_USER), rows.select(*_columns(rows, _USER)))
    # An update that changes nothing, so that known and unknown addresses take the same path.
    statement: Executable = new.on_conflict_do_update(
        index_elements=["address"], set_={"address": new.excluded.address}
    )
    return statement
