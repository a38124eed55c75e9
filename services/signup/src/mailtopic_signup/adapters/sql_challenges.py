"""Users, challenges and limits in SQL: the ChallengeStore.

Rows are locked in the order limits, users, challenges everywhere, so that no two transactions wait
for each other on PostgreSQL.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    Connection,
    Executable,
    ScalarSelect,
    Table,
    Update,
    bindparam,
    case,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_outbox import outbox_row
from mailtopic_signup.adapters.sql_rows import challenge_of, challenge_row
from mailtopic_signup.adapters.sql_suppressions import divert
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
    IdempotentAnswer,
    NewChallenge,
    OutboxMail,
)

_READ = (
    select(
        challenges,
        users.c.address,
        address_limits.c.failures,
        address_limits.c.last_failure_at,
    )
    .join(users, users.c.id == challenges.c.user_id)
    .join(address_limits, address_limits.c.address_key == challenges.c.address_key)
    .where(challenges.c.id == bindparam("challenge_id"))
)
_NO_CODE = b"\0" * 32
"""Stored in place of a code that nothing matches."""
_LATEST_MAIL = (
    select(
        challenges.c.mail_id,
        challenges.c.code_for,
        challenges.c.code_key_id,
        challenges.c.code_digest,
        challenges.c.delivery,
    )
    .join(address_limits, address_limits.c.last_mail_id == challenges.c.mail_id)
    .where(address_limits.c.address_key == bindparam("address_key"))
    # Bob@ and bob@ share limits, but not codes: a code is bound to the exact address.
    .where(challenges.c.user_id == bindparam("user_id"), challenges.c.verified_at.is_(None))
    .limit(1)
)
_ADD_CHALLENGE = insert(challenges)
_ADD_MAIL = insert(outbox)
_FIND_ANSWER = select(idempotent_answers.c.fingerprint, idempotent_answers.c.body).where(
    idempotent_answers.c.key == bindparam("answer_key")
)
Upsert = Callable[[Table], Any]


class SqlChallenges:
    """See `ChallengeStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Both databases know the same ON CONFLICT; SQLAlchemy has an insert of its own for each.
        upsert: Upsert = sqlite_insert if database.is_sqlite else postgresql_insert
        # Made once: to build a statement takes longer than to run it.
        self._remember_answer = _remember_answer(upsert)
        self._take_mail = _take_mail(upsert)
        self._find_or_add_user = _find_or_add_user(upsert)

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

        def work(connection: Connection) -> Begun:
            if answer:
                earlier = self._remember(connection, answer, challenge.created_at)
                if earlier:
                    return earlier
            is_granted = self._is_granted(connection, challenge, mail, next_mail_at)
            user_id = self._user_id(connection, challenge)
            row = challenge_row(challenge, user_id, mail)
            if not is_granted:
                row |= _shared_code(connection, challenge, user_id)
            connection.execute(_ADD_CHALLENGE, row)
            if is_granted:
                connection.execute(_ADD_MAIL, outbox_row(mail))
            divert(connection, mail, challenge.address_key, by_person=True)
            return Begun("started" if is_granted else "cooling", body)

        return await self._database.write(work)

    async def read(self, challenge_id: str) -> Challenge | None:
        """See `ChallengeStore.read`."""
        wanted = {"challenge_id": challenge_id}
        row = await self._database.read(
            lambda connection: connection.execute(_READ, wanted).one_or_none()
        )
        return challenge_of(row) if row else None

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

        def work(connection: Connection) -> Challenge | None:
            failures = connection.execute(count_failure).scalar_one_or_none()
            counted = connection.execute(count).one_or_none() if failures else None
            if failures is None or counted is None:
                connection.rollback()
                return None
            return replace(
                challenge,
                tries=counted.tries,
                code=CodeMac(counted.code_key_id, counted.code_digest),
                failures=failures,
                last_failure_at=now_ms,
            )

        return await self._database.write(work)

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

        others = (
            update(challenges)
            .where(challenges.c.mail_id == _mail_of(challenge))
            .where(challenges.c.id != challenge.id)
            .where(challenges.c.code_digest == challenge.code.digest)
            .values(code_digest=_NO_CODE)
        )

        def work(connection: Connection) -> bool:
            connection.execute(forgive)
            connection.execute(mark_user)
            is_first = connection.execute(mark).rowcount == 1
            connection.execute(others)
            if not is_first:
                connection.rollback()
            return is_first

        return await self._database.write(work)

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
        replace_code = _replace_code(challenge, code, mail, next_mail_at, max_tries)
        next_free = select(limits.next_mail_at).where(limits.address_key == challenge.address_key)

        def work(connection: Connection) -> int | None:
            if connection.execute(take).rowcount != 1:
                return int(connection.execute(next_free).scalar_one())
            if connection.execute(replace_code).rowcount != 1:
                connection.rollback()
                return mail.created_at
            connection.execute(_ADD_MAIL, outbox_row(mail))
            divert(connection, mail, challenge.address_key, by_person=True)
            return None

        return await self._database.write(work)

    async def ping(self) -> None:
        """See `ChallengeStore.ping`."""
        ask = select(challenges.c.id).limit(1)
        await self._database.read(lambda connection: connection.execute(ask).first())

    def _remember(
        self, connection: Connection, answer: IdempotentAnswer, now_ms: int
    ) -> Begun | None:
        row = {
            "key": answer.key,
            "fingerprint": answer.fingerprint,
            "body": answer.body,
            "expires_at": answer.expires_at,
            "now": now_ms,
        }
        if connection.execute(self._remember_answer, row).one_or_none():
            return None
        earlier = connection.execute(_FIND_ANSWER, {"answer_key": answer.key}).one()
        if earlier.fingerprint != answer.fingerprint:
            return Begun("mismatch", b"")
        return Begun("replayed", earlier.body)

    def _is_granted(
        self,
        connection: Connection,
        challenge: NewChallenge,
        mail: OutboxMail,
        next_mail_at: int,
    ) -> bool:
        row = {
            "address_key": challenge.address_key,
            "next_mail_at": next_mail_at,
            "last_mail_id": mail.id,
            "failures": 0,
            "last_failure_at": 0,
            "now": challenge.created_at,
        }
        return bool(connection.execute(self._take_mail, row).scalar_one() == mail.id)

    def _user_id(self, connection: Connection, challenge: NewChallenge) -> object:
        row = {
            "id": challenge.user_id,
            "address": challenge.address,
            "created_at": challenge.created_at,
        }
        return connection.execute(self._find_or_add_user, row).scalar_one()


def _replace_code(
    challenge: Challenge, code: CodeMac, mail: OutboxMail, next_mail_at: int, max_tries: int
) -> Update:
    return (
        update(challenges)
        .where(challenges.c.id == challenge.id, challenges.c.verified_at.is_(None))
        .where(challenges.c.tries < max_tries)
        .values(
            code_for=challenge.id,
            code_key_id=code.key_id,
            code_digest=code.digest,
            expires_at=mail.expires_at,
            resend_after=next_mail_at,
            mail_id=mail.id,
            delivery=Delivery.QUEUED,
            delivery_at=None,
        )
    )


def _remember_answer(upsert: Upsert) -> Executable:
    table = idempotent_answers
    new = upsert(table)
    # On PostgreSQL a request with the same key waits here until the first one is committed.
    statement: Executable = new.on_conflict_do_update(
        index_elements=["key"],
        set_={name: new.excluded[name] for name in ("fingerprint", "body", "expires_at")},
        where=table.c.expires_at <= bindparam("now"),
    ).returning(table.c.key)
    return statement


def _take_mail(upsert: Upsert) -> Executable:
    limits = address_limits.c
    new = upsert(address_limits)
    is_free = limits.next_mail_at <= bindparam("now")
    taken = {
        name: case((is_free, new.excluded[name]), else_=limits[name])
        for name in ("next_mail_at", "last_mail_id")
    }
    statement: Executable = new.on_conflict_do_update(
        index_elements=["address_key"], set_=taken
    ).returning(limits.last_mail_id)
    return statement


def _find_or_add_user(upsert: Upsert) -> Executable:
    new = upsert(users)
    # An update that changes nothing, because only then the row is returned; known and unknown
    # addresses take the same way.
    statement: Executable = new.on_conflict_do_update(
        index_elements=["address"], set_={"address": new.excluded.address}
    ).returning(users.c.id)
    return statement


def _mail_of(challenge: Challenge) -> ScalarSelect[Any]:
    same = challenges.alias()
    return select(same.c.mail_id).where(same.c.id == challenge.id).scalar_subquery()


def _shared_code(
    connection: Connection, challenge: NewChallenge, user_id: object
) -> dict[str, object]:
    """The code of the mail that the address had a moment ago; none if it was used already."""
    found = connection.execute(
        _LATEST_MAIL, {"address_key": challenge.address_key, "user_id": user_id}
    ).first()
    if found is None:
        return {"mail_id": None, "code_digest": _NO_CODE}
    return dict(found._mapping)  # noqa: SLF001 - SQLAlchemy's public way to a row's names
