"""The ports of the signup service: what it needs from a database.

Every method is one transaction. None of them waits for Kafka. All times are epoch milliseconds.
Every method raises DatabaseUnavailable when the database can't be reached.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from mailtopic_contract import Outcome
from mailtopic_signup.domain.challenge import (
    Challenge,
    Delivery,
    MailCaps,
    delivery_of,
)
from mailtopic_signup.domain.code import CodeSeed


class DatabaseUnavailable(Exception):  # noqa: N818 - it says what is the matter
    """The database can't be reached, or has no tables yet. The text shows no URL."""


@dataclass(frozen=True, slots=True, repr=False)
class OutboxMail:
    """A mail that waits to be published: the finished record.

    Its payload holds the recipient's address; its repr shows the id only.
    """

    id: UUID
    topic: str
    key: str
    type: str
    payload: bytes
    created_at: int
    expires_at: int
    traceparent: str | None = None

    def __repr__(self) -> str:
        return f"OutboxMail(id={self.id})"


@dataclass(frozen=True, slots=True)
class LeasedMail:
    """A mail that this publisher alone may publish until ``lease_until``."""

    mail: OutboxMail
    lease_until: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in the outbox; ``oldest_at`` is None when nothing does."""

    pending: int
    oldest_at: int | None


@dataclass(frozen=True, slots=True)
class IdempotentAnswer:
    """An answer that is repeated when the same request comes again."""

    key: str
    fingerprint: str
    body: bytes
    expires_at: int


@dataclass(frozen=True, slots=True, repr=False)
class NewChallenge:
    """A challenge to be stored, with its user's id if the address is new."""

    id: str
    user_id: UUID
    address: str
    address_key: str
    mailbox_key: str
    purpose: str
    locale: str
    created_at: int
    expires_at: int
    resend_after: int


@dataclass(frozen=True, slots=True)
class MailedCode:
    """The code in a mail: its seed, whether it is a long one, when it expires."""

    seed: CodeSeed
    is_long: bool
    until: int


class MakeMail(Protocol):
    """Makes a challenge's mail. It must be a function of its arguments: it may be called twice.

    A known address's mail says that there is an account, and has no code; making it takes the same
    time.
    """

    def __call__(self, code: MailedCode, *, is_known: bool) -> OutboxMail:
        """Return the mail, with the id that the store was given."""
        ...


@dataclass(frozen=True, slots=True)
class MailOrder:
    """A mail that is made once its code is known, if the address may get one."""

    id: UUID
    make: MakeMail
    key_id: str
    """The id of the active pepper."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The result of a signup.

    ``started``: stored, and its mail is in the outbox. ``known``: the same, but the address was
    confirmed before, so the mail has no code and none confirms the challenge. ``cooling``: stored,
    but the address is at its limit of mails, so there is none; the challenge accepts its address's
    codes. ``replayed``: nothing stored, ``body`` is the answer to the first request with this
    idempotency key. ``mismatch``: that request was another one. ``in_flight``: that request isn't
    answered yet.
    """

    result: Literal["started", "known", "cooling", "replayed", "mismatch", "in_flight"]
    body: bytes
    mail: OutboxMail | None = None
    """The mail in the outbox, or the one that a suppression replaced."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """The result of a resend.

    ``mail`` is None if the address is at its limit of mails: the challenge accepts the code of the
    latest one. ``resend_after``: when the next one may be sent. ``is_refused``: nothing changed; no
    code that works here is on its way.
    """

    mail: OutboxMail | None
    resend_after: int
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class SentMail:
    """What is stored about a service's mail: its sender and its recipient, but not the address.

    ``recipient_key`` is the address hashed, ``recipient`` its redacted form.
    """

    id: UUID
    topic: str
    sent_by: str
    recipient_key: str
    recipient: str
    accepted_at: int
    expires_at: int
    outcome: Outcome | None = None
    outcome_at: int | None = None
    smtp: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of storing a service's mail.

    ``stored``: it is in the outbox. ``replayed`` and ``mismatch``: as in `Begun`.
    """

    result: Literal["stored", "replayed", "mismatch"]
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """An event about a mail; the other fields are the event's."""

    mail_id: UUID
    outcome: Outcome
    at: int
    reply_class: str | None = None
    smtp: str | None = None
    taken_back: bool = False

    @property
    def delivery(self) -> Delivery:
        """What it means to the person waiting for the mail."""
        return delivery_of(self.outcome, reply_class=self.reply_class, smtp=self.smtp)


class ChallengeStore(Protocol):
    """Users, challenges and limits. It makes no decisions: rules are passed in as numbers."""

    async def begin(
        self,
        challenge: NewChallenge,
        order: MailOrder,
        *,
        caps: MailCaps,
        answer: IdempotentAnswer | None,
        body: bytes,
    ) -> Begun:
        """Store user, challenge, mail and answer together, or none of them.

        The same statements run whether the address is new, known or at its limit of mails.
        """
        ...

    async def read(self, challenge_id: str) -> Challenge | None:
        """Return a challenge as it is now; it may have changed when the caller looks at it."""
        ...

    async def count_try(
        self, challenge: Challenge, *, now_ms: int, max_tries: int, max_shared: int | None
    ) -> Challenge | None:
        """Count a try before its code is checked; None if no try is left.

        The returned challenge has the codes that the try is for. Each count is taken in one
        statement, so that parallel tries can't share one.

        Args:
            challenge: the challenge that is tried.
            now_ms: the time.
            max_tries: tries that the challenge has.
            max_shared: tries in 24 hours that the address's challenges share, if the try takes one
                of them too; None if it doesn't.
        """
        ...

    async def verify(self, challenge: Challenge, *, is_long: bool, now_ms: int) -> bool:
        """Mark a challenge and its user as verified. The code is invalid after that.

        False if the code was used or the challenge expired meanwhile: only one of several calls for
        a code returns True.
        """
        ...

    async def renew(
        self, challenge: Challenge, order: MailOrder, *, caps: MailCaps, now_ms: int, max_tries: int
    ) -> Renewed:
        """Renew a challenge, and store its mail if the address may get one; tries stay counted."""
        ...

    async def ping(self) -> None:
        """Return if the database answers and has its tables."""
        ...


class MailStore(Protocol):
    """Mails of other services."""

    async def take(
        self,
        mail: OutboxMail,
        sent: SentMail,
        *,
        answer: IdempotentAnswer | None,
        body: bytes,
        fingerprints: Collection[str],
    ) -> Taken:
        """Store the mail, its SentMail, and the answer; or none of them.

        An earlier answer is repeated if its fingerprint is one of ``fingerprints``.
        """
        ...

    async def read(self, mail_id: UUID) -> SentMail | None:
        """Return what is stored about a mail."""
        ...

    async def purge(self, *, expired_before_ms: int) -> int:
        """Delete mails that expired before then; returns the number of rows deleted."""
        ...


class DeliveryStore(Protocol):
    """Records outcomes of mails."""

    async def record(self, news: Sequence[Delivered]) -> None:
        """Record outcomes of mails; events for unknown mails are ignored.

        A final outcome is never replaced by one that isn't.
        """
        ...


class RetentionStore(Protocol):
    """Deletes old challenges."""

    async def purge(self, *, begun_before_ms: int) -> int:
        """Delete some challenges that began before; return the number of rows, 0 at the end.

        Also deletes the counts of addresses without a signup since, and users that never confirmed
        and have no challenge left. Counts of a remaining challenge are never deleted.
        """
        ...


class OutboxStore(Protocol):
    """The outbox. It promises only that leases don't overlap, not that a mail is leased once."""

    async def lease(
        self, *, limit: int, now_ms: int, lease_ms: int, topic: str | None = None
    ) -> Sequence[LeasedMail]:
        """Lease mails that aren't leased, the oldest first; of one topic, or of any."""
        ...

    async def topics(self) -> Collection[str]:
        """Return the topics with waiting mails."""
        ...

    async def mark_published(self, mails: Collection[UUID], *, now_ms: int) -> None:
        """Take mails out of the queue, in one statement."""
        ...

    async def postpone(self, mails: Collection[LeasedMail], *, until_ms: int) -> None:
        """Give mails back, to be leased again from then on; a lost lease is left alone."""
        ...

    async def purge(self, *, published_before_ms: int, answers_before_ms: int) -> int:
        """Delete some published mails and old answers; returns the number of rows deleted."""
        ...

    async def backlog(self) -> Backlog:
        """Count waiting mails."""
        ...
