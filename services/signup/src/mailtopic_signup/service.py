"""Signups, from the address to the confirmed user.

It confirms that a person reads an address, and isn't an authentication factor (NIST SP 800-63B
§3.1.3 forbids e-mail as one).
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID, uuid4

from mailtopic_contract import Address, parse_address
from mailtopic_runtime import Clock
from mailtopic_signup.domain.challenge import (
    DAY_MS,
    KNOWN_PURPOSE,
    PURPOSE,
    Challenge,
    Limits,
    State,
    new_challenge_id,
)
from mailtopic_signup.domain.code import LONG_CODE_LENGTH, CodeBinding, Peppers
from mailtopic_signup.domain.mailbox import address_key, mailbox_key, mailbox_of
from mailtopic_signup.errors import (
    AlreadyVerified,
    ChallengeExpired,
    ChallengeLocked,
    KeyInFlight,
    KeyReused,
    NewCodeNeeded,
    SignupError,
    TooSoon,
    UnknownChallenge,
    WrongCode,
)
from mailtopic_signup.metrics import Count
from mailtopic_signup.outbox import MailMaker
from mailtopic_signup.ports import (
    ChallengeStore,
    IdempotentAnswer,
    MailedCode,
    MailOrder,
    NewChallenge,
    OutboxMail,
)
from mailtopic_signup.recipients import Recipients
from mailtopic_signup.schemas import SignupStatus, accepted_json, moment

_RESULTS: dict[type[SignupError], str] = {
    WrongCode: "wrong_code",
    ChallengeLocked: "locked",
    NewCodeNeeded: "new_code_needed",
    ChallengeExpired: "expired",
}


class Accepted(NamedTuple):
    """The answer to a signup, as JSON, and the address's domain in A-labels."""

    body: bytes
    domain: str


class SignupService:
    """What the API does. Nothing here waits for Kafka or for a relay.

    A known address, one that was confirmed before, gets the same answer in the same time. Its mail
    says that there is an account, and has no code; its challenge accepts none.

    A cooling address is one at its limit of mails: two signups within the cooldown get the same
    kind of answer but only one mail. The second answer has its own challenge, which accepts the
    codes mailed before, so a person that lost the first answer can still confirm. So the answer
    doesn't reveal another signup with the address, and no address can be flooded with mails.

    Strangers can't keep an address's owner from confirming (ADR 0027). The first mail of a day has
    a short code; its challenge has its own tries at it, and all others share a few. Further mails
    have a long code, which can't be guessed, works in every challenge of the address, and is valid
    until the address may get its next mail. A resend repeats the current code.
    """

    def __init__(
        self,
        store: ChallengeStore,
        *,
        recipients: Recipients,
        peppers: Peppers,
        mails: MailMaker,
        limits: Limits,
        clock: Clock,
        count: Count,
        on_queued: Callable[[], None],
    ) -> None:
        self._store = store
        self._recipients = recipients
        self._peppers = peppers
        self._mails = mails
        self._limits = limits
        self._clock = clock
        self._count = count
        self._on_queued = on_queued
        self._keys_in_flight = _KeysInFlight()

    async def begin(
        self,
        email: str,
        locale: str,
        *,
        idempotency_key: str | None = None,
        fingerprint: str | None = None,
        traceparent: str | None = None,
    ) -> Accepted:
        """Start a challenge; returns the JSON of the SignupAccepted.

        When it returns, the mail is stored and will be published, whatever happens to Kafka or to
        this process. Whether the address is known makes no difference.

        Raises:
            BadField: the address isn't one.
            KeyReused: the idempotency key was used with another fingerprint before.
            KeyInFlight: the first request with the idempotency key isn't answered yet.
            DatabaseUnavailable: nothing was stored.
        """
        address = await self._recipients.admit(email, field="email")
        with self._keys_in_flight.enter(idempotency_key):
            body = await self._begin(address, locale, idempotency_key, fingerprint, traceparent)
        return Accepted(body, address.domain)

    async def _begin(
        self,
        address: Address,
        locale: str,
        idempotency_key: str | None,
        fingerprint: str | None,
        traceparent: str | None,
    ) -> bytes:
        now_ms = self._clock.now_ms()
        challenge = self._new_challenge(address, locale, now_ms)
        body = accepted_json(challenge.id, challenge.expires_at, challenge.resend_after)
        begun = await self._store.begin(
            challenge,
            self._order(address, challenge, now_ms, traceparent),
            caps=self._limits.mails,
            answer=_idempotent(idempotency_key, fingerprint, body, now_ms),
            body=body,
        )
        if begun.result == "mismatch":
            raise KeyReused
        if begun.result == "in_flight":
            raise KeyInFlight
        self._count("accepted" if begun.result == "started" else begun.result)
        if begun.mail is not None:
            self._mails.tell_queued(begun.mail, address, challenge.id)
            self._on_queued()
        return begun.body

    async def status(self, challenge_id: str) -> SignupStatus:
        """Return the state of a challenge.

        Raises:
            UnknownChallenge: there is none with this id.
        """
        challenge = await self._read(challenge_id)
        return SignupStatus(
            challenge_id=challenge.id,
            state=challenge.state(self._clock.now_ms(), self._limits),
            delivery=challenge.delivery,
            expires_at=moment(challenge.expires_at),
            resend_after=moment(challenge.resend_after),
        )

    async def verify(self, challenge_id: str, code: str) -> UUID:
        """Confirm the address if the code is right; returns the user's id.

        Raises:
            UnknownChallenge, AlreadyVerified, ChallengeExpired, ChallengeLocked, NewCodeNeeded,
            WrongCode
        """
        try:
            user_id = await self._verify(challenge_id, code)
        except SignupError as error:
            self._count(_RESULTS.get(type(error), "refused"))
            raise
        self._count("verified")
        return user_id

    async def resend(self, challenge_id: str, *, traceparent: str | None = None) -> bytes:
        """Mail a code; returns the JSON of the SignupAccepted.

        If the address is at its limit of mails there is none: the code of the latest one works in
        this challenge. An expired challenge is renewed, within a day of its beginning.

        Raises:
            UnknownChallenge, AlreadyVerified, ChallengeExpired, ChallengeLocked, TooSoon
        """
        challenge = await self._read(challenge_id)
        now_ms = self._clock.now_ms()
        self._refuse_resend(challenge, now_ms)
        address = parse_address(challenge.address)
        renewed = await self._store.renew(
            challenge,
            self._order(address, challenge, now_ms, traceparent),
            caps=self._limits.mails,
            now_ms=now_ms,
            max_tries=self._limits.tries,
        )
        if renewed.is_refused:
            raise TooSoon(_seconds(renewed.resend_after - now_ms))
        self._count("resent" if renewed.mail else "cooling")
        if renewed.mail:
            self._mails.tell_queued(renewed.mail, address, challenge.id)
            self._on_queued()
        return accepted_json(challenge.id, now_ms + self._limits.ttl_ms, renewed.resend_after)

    def _new_challenge(self, address: Address, locale: str, now_ms: int) -> NewChallenge:
        return NewChallenge(
            id=new_challenge_id(),
            user_id=uuid4(),
            address=address.normalised,
            address_key=address_key(address),
            mailbox_key=mailbox_key(address),
            purpose=PURPOSE,
            locale=locale,
            created_at=now_ms,
            expires_at=now_ms + self._limits.ttl_ms,
            resend_after=now_ms + self._limits.mails.cooldown_ms,
        )

    def _order(
        self,
        address: Address,
        challenge: Challenge | NewChallenge,
        now_ms: int,
        traceparent: str | None,
    ) -> MailOrder:
        mail_id = uuid4()

        def make(code: MailedCode, *, is_known: bool) -> OutboxMail:
            # The code is made for every address: known ones must not be faster.
            text = self._code_of(challenge, code)
            return self._mails.make(
                address,
                {} if is_known else {"code": text},
                mail_id=mail_id,
                purpose=KNOWN_PURPOSE if is_known else challenge.purpose,
                locale=challenge.locale,
                accepted_at_ms=now_ms,
                expires_at_ms=code.until,
                traceparent=traceparent,
            )

        return MailOrder(mail_id, make, self._peppers.active)

    def _code_of(self, challenge: Challenge | NewChallenge, code: MailedCode) -> str:
        length = LONG_CODE_LENGTH if code.is_long else self._limits.code_length
        of = CodeBinding(
            "" if code.is_long else challenge.id, challenge.purpose, mailbox_of(challenge.address)
        )
        # Without its pepper there is no code, and no mail: mailed codes use the active pepper.
        return self._peppers.code(code.seed, of, length) or ""

    async def _verify(self, challenge_id: str, code: str) -> UUID:
        challenge = await self._read(challenge_id)
        now_ms = self._clock.now_ms()
        self._refuse_verify(challenge, now_ms)
        limits = self._limits
        shares = challenge.shares(code, now_ms)
        counted = await self._store.count_try(
            challenge,
            now_ms=now_ms,
            max_tries=limits.tries,
            max_shared=limits.shared_tries if shares else None,
        )
        if counted is None:
            # Another request took the last try, or used the code, a moment ago.
            current = await self._read(challenge_id)
            self._refuse_verify(current, now_ms)
            raise NewCodeNeeded(_seconds(max(0, current.resend_after - now_ms)))
        is_counted = shares or not counted.shares(code, now_ms)
        if is_counted and self._is_right(counted, code, now_ms):
            is_long = len(code) == LONG_CODE_LENGTH
            if await self._store.verify(counted, is_long=is_long, now_ms=now_ms):
                return challenge.user_id
        if (await self._read(challenge_id)).verified_at is not None:
            raise AlreadyVerified
        raise WrongCode(max(0, limits.tries - counted.tries))

    def _is_right(self, challenge: Challenge, code: str, now_ms: int) -> bool:
        binding, seed = challenge.binding_of(code, now_ms), challenge.codes.seed
        if binding is None or seed is None:
            return False
        if len(code) not in {self._limits.code_length, LONG_CODE_LENGTH}:
            return False
        return self._peppers.matches(seed, binding, code)

    def _refuse_verify(self, challenge: Challenge, now_ms: int) -> None:
        match challenge.state(now_ms, self._limits):
            case State.VERIFIED:
                raise AlreadyVerified
            case State.EXPIRED:
                raise ChallengeExpired
            case State.LOCKED:
                raise ChallengeLocked
            case State.PENDING:
                return

    def _refuse_resend(self, challenge: Challenge, now_ms: int) -> None:
        if challenge.verified_at is not None:
            raise AlreadyVerified
        if challenge.tries >= self._limits.tries:
            raise ChallengeLocked
        if not challenge.is_renewable(now_ms, self._limits):
            raise ChallengeExpired
        if challenge.resend_after > now_ms:
            raise TooSoon(_seconds(challenge.resend_after - now_ms))

    async def _read(self, challenge_id: str) -> Challenge:
        challenge = await self._store.read(challenge_id)
        if challenge is None:
            raise UnknownChallenge
        return challenge


class _KeysInFlight:
    """The idempotency keys that this process is handling; those of others are in the database."""

    def __init__(self) -> None:
        self._keys: set[str] = set()

    @contextmanager
    def enter(self, key: str | None) -> Iterator[None]:
        if key is None:
            yield
            return
        if key in self._keys:
            raise KeyInFlight
        self._keys.add(key)
        try:
            yield
        finally:
            self._keys.discard(key)


def _idempotent(
    key: str | None, fingerprint: str | None, body: bytes, now_ms: int
) -> IdempotentAnswer | None:
    if key is None:
        return None
    return IdempotentAnswer(
        key=hashlib.sha256(key.encode()).hexdigest(),
        fingerprint=hashlib.sha256((fingerprint or "").encode()).hexdigest(),
        body=body,
        expires_at=now_ms + DAY_MS,
    )


def canonical_text(*fields: str | None) -> str:
    """Return the text that two requests must share to count as the same."""
    return json.dumps(fields)


def _seconds(time_ms: int) -> int:
    return max(1, -(-time_ms // 1000))
