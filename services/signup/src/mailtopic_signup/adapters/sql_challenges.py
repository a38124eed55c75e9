"""Users, challenges and limits in SQL: the ChallengeStore.

Rows are locked in the order limits, users, challenges everywhere, so that no two transactions wait
for each other on PostgreSQL.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    Connection,
    ScalarSelect,
    Update,
    bindparam,
    case,
    insert,
    or_,
    select,
    update,
)

from mailtopic_signup.adapters.group_commit import GroupCommit
from mailtopic_signup.adapters.sql_begin import Signup, SqlBegin
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_mail_caps import take_next_mail
from mailtopic_signup.adapters.sql_outbox import outbox_row
from mailtopic_signup.adapters.sql_rows import challenge_of
from mailtopic_signup.adapters.sql_suppressions import Diversion
from mailtopic_signup.adapters.sql_tables import address_limits, challenges, outbox, users
from mailtopic_signup.domain.challenge import DAY_MS, Challenge, Delivery, MailCaps
from mailtopic_signup.domain.code import UNMATCHABLE, CodeMac
from mailtopic_signup.ports import (
    Begun,
    IdempotentAnswer,
    Mails,
    NewChallenge,
    OutboxMail,
)

_GROUP_LIMIT = 100
"""Signups of one transaction: a few milliseconds, for which others may have to wait."""

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
_ADD_MAIL = insert(outbox)


class SqlChallenges:
    """See `ChallengeStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._groups: dict[MailCaps, GroupCommit[Signup, Begun]] = {}
        self._divert = Diversion(by_person=True, is_sqlite=database.is_sqlite)

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
        return await self._group(caps).submit(Signup(challenge, mails, answer, body))

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
        values = {
            "wanted_key": challenge.address_key,
            "now": mail.created_at,
            "mail_id": mail.id,
            "challenge_id": challenge.id,
        }
        take_mail = take_next_mail(caps)
        resend_after = mail.created_at + caps.cooldown_ms
        replace_code = _replace_code(challenge, code, mail, resend_after, max_tries)
        next_free = select(limits.next_mail_at).where(limits.address_key == challenge.address_key)

        def work(connection: Connection) -> int | None:
            if connection.execute(take_mail, values).rowcount != 1:
                return int(connection.execute(next_free).scalar_one())
            if connection.execute(replace_code).rowcount != 1:
                connection.rollback()
                return mail.created_at
            (stored,) = self._divert.of(connection, [(challenge.address_key, mail)])
            connection.execute(_ADD_MAIL, outbox_row(stored))
            return None

        return await self._database.write(work)

    async def ping(self) -> None:
        """See `ChallengeStore.ping`."""
        ask = select(challenges.c.id).limit(1)
        await self._database.read(lambda connection: connection.execute(ask).first())

    def _group(self, caps: MailCaps) -> GroupCommit[Signup, Begun]:
        if caps not in self._groups:
            begin = SqlBegin(caps, is_sqlite=self._database.is_sqlite)

            async def write(signups: Sequence[Signup]) -> Sequence[Begun]:
                return await self._database.write(
                    lambda connection: begin.store(connection, signups)
                )

            # Two signups of one address follow one another, as they do in two processes.
            self._groups[caps] = GroupCommit(
                write, key=lambda signup: signup.challenge.address_key, limit=_GROUP_LIMIT
            )
        return self._groups[caps]


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


def _mail_of(challenge: Challenge) -> ScalarSelect[Any]:
    same = challenges.alias()
    return select(same.c.mail_id).where(same.c.id == challenge.id).scalar_subquery()
