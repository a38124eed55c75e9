"""A challenge: what one signup waits for, and what it refuses."""

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from mailtopic_contract import Outcome
from mailtopic_signup.domain.code import LONG_CODE_LENGTH, CodeBinding, CodeSeed
from mailtopic_signup.domain.mailbox import mailbox_of

PURPOSE = "signup"
KNOWN_PURPOSE = "account-exists"
"""The purpose of a mail to an address that is confirmed already. It has no code."""

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
RENEWABLE_MS = DAY_MS
"""The longest time that resends keep a challenge alive (NIST SP 800-63B: 24 hours)."""


class State(StrEnum):
    """The state of a challenge."""

    PENDING = "pending"
    VERIFIED = "verified"
    EXPIRED = "expired"
    LOCKED = "locked"


class Delivery(StrEnum):
    """The state of a challenge's latest mail, as far as is known."""

    QUEUED = "queued"
    SENT = "sent"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    FAILED = "failed"
    """It could not be sent, and the address is not the cause."""


_DELIVERY = {
    Outcome.ACCEPTED: Delivery.SENT,
    Outcome.DEFERRED: Delivery.DEFERRED,
    Outcome.BOUNCED: Delivery.BOUNCED,
    Outcome.EXPIRED: Delivery.EXPIRED,
    # A newer mail replaced it: this one will not be delivered.
    Outcome.SUPERSEDED: Delivery.EXPIRED,
    Outcome.SUPPRESSED: Delivery.BOUNCED,
    # The final dot was sent, only the reply is missing.
    Outcome.UNKNOWN: Delivery.SENT,
    Outcome.DEAD: Delivery.FAILED,
}


_ABOUT_ADDRESS = frozenset({None, "hard_bounce", "mailbox_full", "provider_suppressed"})
_NEEDS_SMTPUTF8 = "5.6.7"


def delivery_of(
    outcome: Outcome, *, reply_class: str | None = None, smtp: str | None = None
) -> Delivery:
    """Return what a mail's outcome means to the person waiting for it.

    Args:
        outcome: the mail's outcome.
        reply_class: why a mail bounced; FAILED unless the address is the cause.
        smtp: the relay's codes; 5.6.7 (RFC 6531) is about the address, whatever the class.
    """
    if outcome is Outcome.BOUNCED and reply_class not in _ABOUT_ADDRESS:
        return Delivery.BOUNCED if _NEEDS_SMTPUTF8 in (smtp or "") else Delivery.FAILED
    return _DELIVERY[outcome]


@dataclass(frozen=True, slots=True)
class MailCaps:
    """How often one address gets mails, whatever their source and whether it is known or not.

    A mail restarts a count only after an hour (a day) without any: so no hour (day), wherever it
    begins, contains more than the maximum.
    """

    cooldown_ms: int = 60_000
    per_hour: int = 5
    per_day: int = 10
    code_ttl_ms: int = 600_000
    """How long a mail's code is valid; a long one until the next mail may have been read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How often codes may be tried, and how often mails are sent. ``_ms`` fields: milliseconds."""

    code_length: int = 6
    max_tries: int = 5
    max_failures_per_day: int = 10
    mails: MailCaps = field(default_factory=MailCaps)

    @property
    def ttl_ms(self) -> int:
        """How long a challenge waits for its code."""
        return self.mails.code_ttl_ms

    @property
    def tries(self) -> int:
        """Tries of one challenge; never more than an address's."""
        return min(self.max_tries, self.max_failures_per_day)

    @property
    def shared_tries(self) -> int:
        """Tries a day that challenges share at a short code of another challenge.

        Together with that challenge's own tries they are one less than max_failures_per_day: the
        remaining one accounts for all guesses at long codes (ADR 0027).
        """
        return max(0, self.max_failures_per_day - self.max_tries - 1)


@dataclass(frozen=True, slots=True)
class AddressCodes:
    """The codes that an address has now. Times: epoch ms.

    A short code is for the challenge that got it; other challenges of the address share a few tries
    at it. A long code works in every challenge of the address.
    """

    seed: CodeSeed | None
    short_for: str | None
    short_until: int
    long_until: int


@dataclass(frozen=True, slots=True, repr=False)
class Challenge:
    """A challenge as it is stored, with the codes of its address. Times: epoch ms.

    Its repr names the id only.
    """

    id: str
    user_id: UUID
    address: str
    address_key: str
    mailbox_key: str
    purpose: str
    locale: str
    codes: AddressCodes
    tries: int
    created_at: int
    expires_at: int
    resend_after: int
    verified_at: int | None
    delivery: Delivery
    known_since: int | None
    """When its address was confirmed, by any challenge; None: it wasn't."""

    @property
    def is_known(self) -> bool:
        """Whether its address is confirmed; its mails have no code then."""
        return self.known_since is not None

    def binding_of(self, code: str, now_ms: int) -> CodeBinding | None:
        """Return what a code of this length must be bound to; None if none of them works now."""
        if self.known_since is not None and self.known_since < self.created_at:
            return None  # no mail with a code was sent for it
        codes = self.codes
        if len(code) == LONG_CODE_LENGTH:
            return self._binding("") if now_ms < codes.long_until else None
        if codes.short_for is None or now_ms >= codes.short_until:
            return None
        return self._binding(codes.short_for)

    def _binding(self, challenge_id: str) -> CodeBinding:
        return CodeBinding(challenge_id, self.purpose, mailbox_of(self.address))

    def shares(self, code: str, now_ms: int) -> bool:
        """Return whether a code of this length can only be another challenge's."""
        if len(code) == LONG_CODE_LENGTH or now_ms >= self.codes.short_until:
            return False
        return self.codes.short_for not in {None, self.id}

    def state(self, now_ms: int, limits: Limits) -> State:
        """Return the state. VERIFIED is final; EXPIRED takes precedence over LOCKED."""
        if self.verified_at is not None:
            return State.VERIFIED
        if now_ms >= self.expires_at:
            return State.EXPIRED
        return State.LOCKED if self.tries >= limits.tries else State.PENDING

    def is_renewable(self, now_ms: int, limits: Limits) -> bool:
        """Whether a resend may give it a new code: it has tries left and isn't too old."""
        return self.tries < limits.tries and now_ms < self.created_at + RENEWABLE_MS

    def __repr__(self) -> str:
        return f"Challenge(id={self.id!r})"


def new_challenge_id() -> str:
    """Return 128 random bits as 32 hex digits; only the client that began the challenge has it."""
    return secrets.token_hex(16)
