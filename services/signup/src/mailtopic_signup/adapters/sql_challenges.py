"""Users, challenges and limits in SQL: the ChallengeStore.

Rows are locked in the order limits, users, challenges everywhere, so that no two transactions wait
for each other on PostgreSQL.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import (
    Boolean,
    Connection,
    Executable,
    Row,
    ScalarSelect,
    String,
    Update,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_mail_caps import (
    TAKE_NEXT_MAIL,
    Upsert,
    mail_caps_values,
    take_first_mail,
)
from mailtopic_signup.adapters.sql_outbox import outbox_row
from mailtopic_signup.adapters.sql_rows import challenge_of, challenge_row, shared_code
from mailtopic_signup.adapters.sql_suppressions import divert
from mailtopic_signup.adapters.sql_tables import (
    address_limits,
    challenges,
    idempotent_answers,
    outbox,
    users,
)
from mailtopic_signup.domain.challenge import DAY_MS, Challenge, Delivery, MailCaps
from mailtopic_signup.domain.code import UNMATCHABLE, CodeMac
from mailtopic_signup.ports import (
    Begun,
    IdempotentAnswer,
    Mails,
    NewChallenge,
    OutboxMail,
)

_OUTBOX_NAMES = (
    "id",
    "aggregatetype",
    "aggregateid",
    "type",
    "payload",
    "topic",
    "created_at",
    "expires_at",
    "traceparent",
    "attempts",
)
_READ = (
    select(
        challenges,
        users.c.address,
        users.c.verified_at.label("user_verified_at"),
        address_limits.c.failures,
        address_limits.c.last_failure_at,
    )
    .join(users, users.c.id == challenges.c.user_id)
    .join(address_limits, address_limits.c.address_key == challenges.c.address_key)
    .where(challenges.c.id == bindparam("challenge_id"))
)
_LATEST_MAIL = select(
    *(
        challenges.c[name]
        for name in (
            "mail_id",
            "user_id",
            "verified_at",
            "expires_at",
            "code_until",
            "code_for",
            "code_key_id",
            "code_digest",
            "delivery",
            "delivery_at",
        )
    )
).where(challenges.c.id == bindparam("latest_id"))
_ADD_CHALLENGE = insert(challenges)
_ADD_MAIL = insert(outbox)
# An address without a grant takes the same statements as one with: this one adds nothing then.
_ADD_MAIL_IF_GRANTED = insert(outbox).from_select(
    list(_OUTBOX_NAMES),
    select(*(bindparam(name, type_=outbox.c[name].type) for name in _OUTBOX_NAMES)).where(
        bindparam("is_granted", type_=Boolean)
    ),
)
# SQLite has one writer, and so nobody in flight.
_TRY_LOCK = select(
    func.pg_try_advisory_xact_lock(func.hashtextextended(bindparam("answer_key", type_=String), 0))
)
_FIND_ANSWER = select(idempotent_answers.c.fingerprint, idempotent_answers.c.body).where(
    idempotent_answers.c.key == bindparam("answer_key")
)


class SqlChallenges:
    """See `ChallengeStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_sqlite = database.is_sqlite
        # Both databases know the same ON CONFLICT; SQLAlchemy has an insert of its own for each.
        upsert: Upsert = sqlite_insert if database.is_sqlite else postgresql_insert
        # Made once: to build a statement takes longer than to run it.
        self._remember_answer = _remember_answer(upsert)
        self._take_first_mail = take_first_mail(upsert)
        self._find_or_add_user = _find_or_add_user(upsert)

    async def begin(
        self,
        challenge: NewChallenge,
        mails: Mails,
        *,
        caps: MailCaps,
        answer: IdempotentAnswer | None,
        body: bytes,
    ) -> Begun:
        """See `ChallengeStore.begin`."""

        def work(connection: Connection) -> Begun:
            if answer:
                earlier = self._remember(connection, answer, challenge.created_at)
                if earlier:
                    return earlier
            latest_id = self._take_mail(connection, challenge, mails, caps)
            is_granted = latest_id == challenge.id
            user = self._user(connection, challenge)
            latest = connection.execute(_LATEST_MAIL, {"latest_id": latest_id}).one_or_none()
            is_known = user.verified_at is not None
            mail = mails.known if is_known else mails.new
            row = challenge_row(challenge, user.id, mail)
            if not is_granted:
                row |= shared_code(latest, user.id, challenge.created_at)
            elif is_known:
                row["code_digest"] = UNMATCHABLE
            connection.execute(_ADD_CHALLENGE, row)
            connection.execute(_ADD_MAIL_IF_GRANTED, outbox_row(mail) | {"is_granted": is_granted})
            divert(connection, mail, challenge.address_key, by_person=True)
            if not is_granted:
                return Begun("cooling", body)
            return Begun("known" if is_known else "started", body)

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
            .values(code_digest=UNMATCHABLE)
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
        caps: MailCaps,
        max_tries: int,
    ) -> int | None:
        """See `ChallengeStore.renew`."""
        limits = address_limits.c
        values = mail_caps_values(caps, mail.created_at)
        values |= {"wanted_key": challenge.address_key, "mail_id": mail.id}
        values |= {"challenge_id": challenge.id}
        resend_after = mail.created_at + caps.cooldown_ms
        replace_code = _replace_code(challenge, code, mail, resend_after, max_tries)
        next_free = select(limits.next_mail_at).where(limits.address_key == challenge.address_key)

        def work(connection: Connection) -> int | None:
            if connection.execute(TAKE_NEXT_MAIL, values).rowcount != 1:
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
        if not self._is_sqlite:
            lock = connection.execute(_TRY_LOCK, {"answer_key": answer.key})
            if not lock.scalar_one():
                return Begun("in_flight", b"")
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

    def _take_mail(
        self, connection: Connection, challenge: NewChallenge, mails: Mails, caps: MailCaps
    ) -> str | None:
        """Return whose challenge the address's latest mail is from now on."""
        values = mail_caps_values(caps, challenge.created_at)
        values |= {"address_key": challenge.address_key, "mail_id": mails.new.id}
        values |= {"challenge_id": challenge.id}
        latest: str | None = connection.execute(self._take_first_mail, values).scalar_one()
        return latest

    def _user(self, connection: Connection, challenge: NewChallenge) -> Row[Any]:
        row = {
            "id": challenge.user_id,
            "address": challenge.address,
            "created_at": challenge.created_at,
        }
        return connection.execute(self._find_or_add_user, row).one()


def _replace_code(
    challenge: Challenge, code: CodeMac, mail: OutboxMail, resend_after: int, max_tries: int
) -> Update:
    return (
        update(challenges)
        .where(challenges.c.id == challenge.id, challenges.c.verified_at.is_(None))
        .where(challenges.c.tries < max_tries)
        .values(
            code_for=challenge.id,
            code_key_id=code.key_id,
            code_digest=code.digest,
            code_until=None,
            expires_at=mail.expires_at,
            resend_after=resend_after,
            mail_id=mail.id,
            delivery=Delivery.QUEUED,
            delivery_at=None,
        )
    )


def _remember_answer(upsert: Upsert) -> Executable:
    table = idempotent_answers
    new = upsert(table)
    statement: Executable = new.on_conflict_do_update(
        index_elements=["key"],
        set_={name: new.excluded[name] for name in ("fingerprint", "body", "expires_at")},
        where=table.c.expires_at <= bindparam("now"),
    ).returning(table.c.key)
    return statement


def _find_or_add_user(upsert: Upsert) -> Executable:
    new = upsert(users)
    # An update that changes nothing, because only then the row is returned; known and unknown
    # addresses take the same way.
    statement: Executable = new.on_conflict_do_update(
        index_elements=["address"], set_={"address": new.excluded.address}
    ).returning(users.c.id, users.c.verified_at)
    return statement


def _mail_of(challenge: Challenge) -> ScalarSelect[Any]:
    same = challenges.alias()
    return select(same.c.mail_id).where(same.c.id == challenge.id).scalar_subquery()
