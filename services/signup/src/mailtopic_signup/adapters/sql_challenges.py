"""Users, challenges and limits in SQL: the ChallengeStore.

Rows are locked in the order limits, users, challenges everywhere, so that no two transactions
deadlock on PostgreSQL.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    Connection,
    Executable,
    bindparam,
    case,
    func,
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
from mailtopic_signup.adapters.sql_rows import (
    CODE_COLUMNS,
    challenge_of,
    codes_of,
    latest_mail,
    mailed_code,
)
from mailtopic_signup.adapters.sql_suppressions import Diversion
from mailtopic_signup.adapters.sql_tables import address_limits, challenges, outbox, users
from mailtopic_signup.domain.challenge import DAY_MS, Challenge, Delivery, MailCaps
from mailtopic_signup.domain.code import new_seed
from mailtopic_signup.ports import (
    Begun,
    IdempotentAnswer,
    MailOrder,
    NewChallenge,
    Renewed,
)

_GROUP_LIMIT = 100
"""Signups of one transaction: a few milliseconds, during which others may have to wait."""

_CODES = [address_limits.c[name] for name in CODE_COLUMNS]
_OF_CHALLENGE: list[Any] = [
    *(each for each in challenges.c if each.name not in CODE_COLUMNS),
    users.c.address,
    users.c.verified_at.label("user_verified_at"),
    *_CODES,
]
_MAILBOX_KEY = func.coalesce(challenges.c.mailbox_key, challenges.c.address_key)
_READ = (
    select(*_OF_CHALLENGE)
    .join(users, users.c.id == challenges.c.user_id)
    .join(address_limits, address_limits.c.address_key == _MAILBOX_KEY)
    .where(challenges.c.id == bindparam("challenge_id"))
)
_READ_LIMITS = select(
    address_limits.c.next_mail_at, address_limits.c.last_challenge_id, *_CODES
).where(address_limits.c.address_key == bindparam("wanted_key"))
_READ_LATEST = select(
    *(challenges.c[name] for name in ("mail_id", "delivery", "delivery_at"))
).where(challenges.c.id == bindparam("latest_id"))
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
        order: MailOrder,
        *,
        caps: MailCaps,
        answer: IdempotentAnswer | None,
        body: bytes,
    ) -> Begun:
        """See `ChallengeStore.begin`."""
        return await self._group(caps).submit(Signup(challenge, order, answer, body))

    async def read(self, challenge_id: str) -> Challenge | None:
        """See `ChallengeStore.read`."""
        wanted = {"challenge_id": challenge_id}
        row = await self._database.read(
            lambda connection: connection.execute(_READ, wanted).one_or_none()
        )
        return challenge_of(row) if row else None

    async def count_try(
        self, challenge: Challenge, *, now_ms: int, max_tries: int, max_shared: int | None
    ) -> Challenge | None:
        """See `ChallengeStore.count_try`."""
        wanted = {"wanted_key": challenge.mailbox_key}
        count = (
            update(challenges)
            .where(challenges.c.id == challenge.id, challenges.c.tries < max_tries)
            .where(challenges.c.verified_at.is_(None), challenges.c.expires_at > now_ms)
            .values(tries=challenges.c.tries + 1)
            .returning(challenges.c.tries)
        )

        def work(connection: Connection) -> Challenge | None:
            if max_shared is not None:
                count_shared = _count_shared(challenge, now_ms, max_shared)
                if connection.execute(count_shared).rowcount != 1:
                    return None
            tries = connection.execute(count).scalar_one_or_none()
            if tries is None:
                connection.rollback()
                return None
            codes = codes_of(connection.execute(_READ_LIMITS, wanted).one())
            return replace(challenge, tries=tries, codes=codes)

        return await self._database.write(work)

    async def verify(self, challenge: Challenge, *, is_long: bool, now_ms: int) -> bool:
        """See `ChallengeStore.verify`."""
        limits, codes = address_limits.c, challenge.codes
        use_up = (
            update(address_limits)
            .where(limits.address_key == challenge.mailbox_key)
            .where(limits.code_seed == (codes.seed.seed if codes.seed else None))
        )
        if is_long:
            use_up = use_up.values(code_seed=None, short_for=None, long_until=0)
        else:
            use_up = use_up.where(limits.short_for == codes.short_for).values(short_for=None)
        mark_user = (
            update(users)
            .where(users.c.id == challenge.user_id, users.c.verified_at.is_(None))
            .values(verified_at=now_ms)
        )
        mark = (
            update(challenges)
            .where(challenges.c.id == challenge.id, challenges.c.verified_at.is_(None))
            .where(challenges.c.expires_at > now_ms)
            .values(verified_at=now_ms)
        )

        def work(connection: Connection) -> bool:
            is_first = connection.execute(use_up).rowcount == 1
            connection.execute(mark_user)
            if not is_first or connection.execute(mark).rowcount != 1:
                connection.rollback()
                return False
            return True

        return await self._database.write(work)

    async def renew(
        self, challenge: Challenge, order: MailOrder, *, caps: MailCaps, now_ms: int, max_tries: int
    ) -> Renewed:
        """See `ChallengeStore.renew`."""
        wanted = {"wanted_key": challenge.mailbox_key}
        wishes = {
            "now": now_ms,
            "begun_at": challenge.created_at,
            "new_last_mail_id": order.id,
            "new_last_challenge_id": challenge.id,
            "new_code_seed": new_seed(),
            "new_code_key_id": order.key_id,
        }
        take_mail = take_next_mail(caps)
        ends_at = now_ms + caps.code_ttl_ms

        def work(connection: Connection) -> Renewed:
            is_granted = connection.execute(take_mail, wanted | wishes).rowcount == 1
            limits = connection.execute(_READ_LIMITS, wanted).one()
            refused = Renewed(None, limits.next_mail_at, is_refused=True)
            changed: dict[str, object] = {
                "expires_at": ends_at,
                "resend_after": limits.next_mail_at,
            }
            if is_granted:
                changed |= {"mail_id": order.id, "delivery": Delivery.QUEUED, "delivery_at": None}
            elif limits.long_until <= now_ms:
                return refused
            else:
                latest = {"latest_id": limits.last_challenge_id}
                changed |= latest_mail(connection.execute(_READ_LATEST, latest).one_or_none())
            if connection.execute(_renewed(challenge, changed, max_tries)).rowcount != 1:
                connection.rollback()
                return refused
            if not is_granted:
                return Renewed(None, limits.next_mail_at)
            code = mailed_code(limits, order, challenge.id, ends_at)
            mail = order.make(code, is_known=challenge.is_known)
            (stored,) = self._divert.of(connection, [(challenge.address_key, mail)])
            connection.execute(_ADD_MAIL, outbox_row(stored))
            return Renewed(mail, limits.next_mail_at)

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

            # Two signups of one mailbox run one after the other, as in two processes.
            self._groups[caps] = GroupCommit(
                write, key=lambda signup: signup.challenge.mailbox_key, limit=_GROUP_LIMIT
            )
        return self._groups[caps]


def _count_shared(challenge: Challenge, now_ms: int, max_shared: int) -> Executable:
    limits = address_limits.c
    is_over = limits.last_failure_at <= now_ms - DAY_MS
    # The count starts again only after a day without any such try: so no 24 hours, wherever they
    # begin, contain more than the maximum.
    return (
        update(address_limits)
        .where(limits.address_key == challenge.mailbox_key)
        .where(or_(limits.failures < max_shared, is_over))
        .values(failures=case((is_over, 1), else_=limits.failures + 1), last_failure_at=now_ms)
    )


def _renewed(challenge: Challenge, changed: dict[str, object], max_tries: int) -> Executable:
    return (
        update(challenges)
        .where(challenges.c.id == challenge.id, challenges.c.verified_at.is_(None))
        .where(challenges.c.tries < max_tries)
        .values(changed)
    )
