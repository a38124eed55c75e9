"""A challenge: what one signup waits for, and what it refuses by now."""

import hashlib
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from mailtopic_contract import Address, Outcome
from mailtopic_signup.domain.code import CodeBinding, CodeMac

PURPOSE = "signup"
KNOWN_PURPOSE = "account-exists"
"""What the mail to an address that is confirmed already is for. It brings no code."""

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
RENEWABLE_MS = DAY_MS
"""A resend keeps a challenge alive for so long at most (NIST SP 800-63B: 24 hours)."""


class State(StrEnum):
    """Where a challenge stands."""

    PENDING = "pending"
    VERIFIED = "verified"
    EXPIRED = "expired"
    LOCKED = "locked"


class Delivery(StrEnum):
    """Where a challenge's latest mail stands, as far as is known."""

    QUEUED = "queued"
    SENT = "sent"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    FAILED = "failed"
    """Nobody could send it, and the address is not to blame."""


_DELIVERY = {
    Outcome.ACCEPTED: Delivery.SENT,
    Outcome.DEFERRED: Delivery.DEFERRED,
    Outcome.BOUNCED: Delivery.BOUNCED,
    Outcome.EXPIRED: Delivery.EXPIRED,
    # A newer mail took its place: this one will not come any more.
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
    """Return what a mail's outcome means to the person who waits for it.

    Args:
        outcome: what became of the mail.
        reply_class: of a bounced mail, why; what the address is not to blame for is FAILED.
        smtp: the relay's codes; 5.6.7 (RFC 6531) is about the address, whatever the class.
    """
    if outcome is Outcome.BOUNCED and reply_class not in _ABOUT_ADDRESS:
        return Delivery.BOUNCED if _NEEDS_SMTPUTF8 in (smtp or "") else Delivery.FAILED
    return _DELIVERY[outcome]


@dataclass(frozen=True, slots=True)
class MailCaps:
    """How often mails go out to one address, whoever asks for them and whether it is known.

    A mail starts a count again only after an hour (a day) without any: thus no hour (day),
    wherever it begins, holds more than the maximum.
    """

    cooldown_ms: int = 60_000
    per_hour: int = 5
    per_day: int = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """How often codes may be tried, and how often mails go out. Milliseconds where it says so."""

    code_length: int = 6
    ttl_ms: int = 600_000
    max_tries: int = 5
    max_failures_per_day: int = 10
    mails: MailCaps = field(default_factory=MailCaps)


@dataclass(frozen=True, slots=True, repr=False)
class Challenge:
    """A challenge as it is stored, with what its address has used up. Times: epoch ms.

    Its repr names the id only.
    """

    id: str
    user_id: UUID
    address: str
    address_key: str
    purpose: str
    locale: str
    code: CodeMac
    code_for: str
    code_until: int
    tries: int
    created_at: int
    expires_at: int
    resend_after: int
    verified_at: int | None
    delivery: Delivery
    failures: int
    last_failure_at: int
    is_known: bool
    """Whether its address was confirmed before, by whatever challenge: it gets no code then."""

    @property
    def binding(self) -> CodeBinding:
        """What its code is bound to."""
        return CodeBinding(self.code_for, self.purpose, self.address)

    def state(self, now_ms: int, limits: Limits) -> State:
        """Where it stands. VERIFIED is for ever; EXPIRED goes before LOCKED."""
        if self.verified_at is not None:
            return State.VERIFIED
        if now_ms >= self.expires_at:
            return State.EXPIRED
        if self.tries >= limits.max_tries or self.unlocks_at(limits) > now_ms:
            return State.LOCKED
        return State.PENDING

    def unlocks_at(self, limits: Limits) -> int:
        """When its address may be tried again (epoch ms); 0 if it may be tried now."""
        if self.failures < limits.max_failures_per_day:
            return 0
        return self.last_failure_at + DAY_MS

    def is_renewable(self, now_ms: int, limits: Limits) -> bool:
        """Whether a resend may give it a new code: it has tries left and isn't too old."""
        return self.tries < limits.max_tries and now_ms < self.created_at + RENEWABLE_MS

    def __repr__(self) -> str:
        return f"Challenge(id={self.id!r})"


def new_challenge_id() -> str:
    """Return 128 random bits as 32 hex digits: who knows the id started the challenge."""
    return secrets.token_hex(16)


def address_key(address: Address) -> str:
    """Return what limits are counted by: the address without regard to case, hashed.

    Most hosts ignore the local part's case; counted by the exact address, BOB@ and bob@ would be
    tried ten times a day each.
    """
    return hashlib.sha256(address.normalised.casefold().encode()).hexdigest()[:32]
