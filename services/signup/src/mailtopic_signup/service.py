"""Signups, from the address to the confirmed user.

It confirms that somebody reads an address, and is no authentication factor (NIST SP 800-63B §3.1.3
forbids e-mail as one).
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
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
    address_key,
    new_challenge_id,
)
from mailtopic_signup.domain.code import CodeBinding, Peppers, new_code
from mailtopic_signup.errors import (
    AlreadyVerified,
    ChallengeExpired,
    ChallengeLocked,
    KeyInFlight,
    KeyReused,
    SignupError,
    TooSoon,
    UnknownChallenge,
    WrongCode,
)
from mailtopic_signup.metrics import Count
from mailtopic_signup.outbox import MailMaker
from mailtopic_signup.ports import ChallengeStore, IdempotentAnswer, Mails, NewChallenge
from mailtopic_signup.recipients import Recipients
from mailtopic_signup.schemas import SignupStatus, accepted_json, moment

_RESULTS: dict[type[SignupError], str] = {
    WrongCode: "wrong_code",
    ChallengeLocked: "locked",
    ChallengeExpired: "expired",
}


class Accepted(NamedTuple):
    """The answer to a signup, as JSON, and the address's domain in A-labels."""

    body: bytes
    domain: str


class SignupService:
    """What the API does. Nothing here waits for Kafka or for a relay.

    A known address, one that was confirmed before, gets the same answer in the same time. Its mail
    says that there is an account, and brings no code; its challenge takes none.

    A cooling address, one that has had its mails for now: who signs up twice within the cooldown
    gets the same kind of answer twice but one mail. The second answer is a challenge of its own
    that takes the code of that mail, for as long as that was valid: who lost the first answer can
    still confirm. So the answer doesn't tell whether somebody else signed up with the address, and
    nobody can be flooded with mails.

    A resend makes a new code, and the old one stops working: the database holds MACs only, so an
    old code could not be sent again. Counts of wrong codes stay.
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
            KeyReused: the idempotency key came with another fingerprint before.
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
        challenge, code = self._new_challenge(address, locale, now_ms)
        # Both are made before anybody looks who it is: known addresses take no shorter way.
        mails = self._both_mails(address, code, challenge, now_ms, traceparent)
        body = accepted_json(challenge.id, challenge.expires_at, challenge.resend_after)
        begun = await self._store.begin(
            challenge,
            mails,
            caps=self._limits.mails,
            answer=_idempotent(idempotency_key, fingerprint, body, now_ms),
            body=body,
        )
        if begun.result == "mismatch":
            raise KeyReused
        if begun.result == "in_flight":
            raise KeyInFlight
        self._count("accepted" if begun.result == "started" else begun.result)
        if begun.result in {"started", "known"}:
            self._mails.tell_queued(mails.new, address, challenge.id)
            self._on_queued()
        return begun.body

    async def status(self, challenge_id: str) -> SignupStatus:
        """Return where a challenge stands.

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
            UnknownChallenge, AlreadyVerified, ChallengeExpired, ChallengeLocked, WrongCode
        """
        try:
            user_id = await self._verify(challenge_id, code)
        except SignupError as error:
            self._count(_RESULTS.get(type(error), "refused"))
            raise
        self._count("verified")
        return user_id

    async def resend(self, challenge_id: str, *, traceparent: str | None = None) -> bytes:
        """Send a new code; returns the JSON of the SignupAccepted.

        An expired challenge comes to life again, within a day of its beginning.

        Raises:
            UnknownChallenge, AlreadyVerified, ChallengeExpired, ChallengeLocked, TooSoon
        """
        challenge = await self._read(challenge_id)
        now_ms = self._clock.now_ms()
        self._refuse_resend(challenge, now_ms)
        code = new_code(self._limits.code_length)
        address = parse_address(challenge.address)
        mails = self._both_mails(address, code, challenge, now_ms, traceparent)
        mail = mails.known if challenge.is_known else mails.new
        mac = self._peppers.mac(
            code, CodeBinding(challenge.id, challenge.purpose, challenge.address)
        )
        waits_until = await self._store.renew(
            challenge,
            mac.unmatchable() if challenge.is_known else mac,
            mail,
            caps=self._limits.mails,
            max_tries=self._limits.max_tries,
        )
        if waits_until is not None:
            raise TooSoon(_seconds(waits_until - now_ms))
        self._count("resent")
        self._mails.tell_queued(mail, address, challenge.id)
        self._on_queued()
        return accepted_json(challenge.id, mail.expires_at, now_ms + self._limits.mails.cooldown_ms)

    def _new_challenge(
        self, address: Address, locale: str, now_ms: int
    ) -> tuple[NewChallenge, str]:
        challenge_id, code = new_challenge_id(), new_code(self._limits.code_length)
        binding = CodeBinding(challenge_id, PURPOSE, address.normalised)
        challenge = NewChallenge(
            id=challenge_id,
            user_id=uuid4(),
            address=address.normalised,
            address_key=address_key(address),
            purpose=PURPOSE,
            locale=locale,
            code=self._peppers.mac(code, binding),
            created_at=now_ms,
            expires_at=now_ms + self._limits.ttl_ms,
            resend_after=now_ms + self._limits.mails.cooldown_ms,
        )
        return challenge, code

    def _both_mails(
        self,
        address: Address,
        code: str,
        challenge: Challenge | NewChallenge,
        now_ms: int,
        traceparent: str | None,
    ) -> Mails:
        make = partial(
            self._mails.make,
            address,
            mail_id=uuid4(),
            locale=challenge.locale,
            accepted_at_ms=now_ms,
            expires_at_ms=now_ms + self._limits.ttl_ms,
            traceparent=traceparent,
        )
        return Mails(
            new=make({"code": code}, purpose=challenge.purpose),
            known=make({}, purpose=KNOWN_PURPOSE),
        )

    async def _verify(self, challenge_id: str, code: str) -> UUID:
        challenge = await self._read(challenge_id)
        now_ms = self._clock.now_ms()
        self._refuse_verify(challenge, now_ms)
        limits = self._limits
        counted = await self._store.count_try(
            challenge,
            now_ms=now_ms,
            max_tries=limits.max_tries,
            max_failures=limits.max_failures_per_day,
        )
        if counted is None:
            # Another request took the last try, or used the code, a moment ago.
            self._refuse_verify(await self._read(challenge_id), now_ms)
            raise ChallengeLocked(retry_after_s=None)
        is_right = self._peppers.matches(counted.code, code, counted.binding)
        is_right = is_right and now_ms < counted.code_until
        if is_right and await self._store.verify(counted, now_ms=now_ms):
            return challenge.user_id
        current = await self._read(challenge_id)
        if current.verified_at is not None:
            raise AlreadyVerified
        tries_left = limits.max_tries - counted.tries
        failures_left = limits.max_failures_per_day - counted.failures
        raise WrongCode(max(0, min(tries_left, failures_left)))

    def _refuse_verify(self, challenge: Challenge, now_ms: int) -> None:
        match challenge.state(now_ms, self._limits):
            case State.VERIFIED:
                raise AlreadyVerified
            case State.EXPIRED:
                raise ChallengeExpired
            case State.LOCKED:
                raise self._locked(challenge, now_ms)
            case State.PENDING:
                return

    def _refuse_resend(self, challenge: Challenge, now_ms: int) -> None:
        if challenge.verified_at is not None:
            raise AlreadyVerified
        if challenge.tries >= self._limits.max_tries or challenge.unlocks_at(self._limits) > now_ms:
            raise self._locked(challenge, now_ms)
        if not challenge.is_renewable(now_ms, self._limits):
            raise ChallengeExpired
        if challenge.resend_after > now_ms:
            raise TooSoon(_seconds(challenge.resend_after - now_ms))

    def _locked(self, challenge: Challenge, now_ms: int) -> ChallengeLocked:
        unlocks_at = challenge.unlocks_at(self._limits)
        return ChallengeLocked(_seconds(unlocks_at - now_ms) if unlocks_at > now_ms else None)

    async def _read(self, challenge_id: str) -> Challenge:
        challenge = await self._store.read(challenge_id)
        if challenge is None:
            raise UnknownChallenge
        return challenge


class _KeysInFlight:
    """The idempotency keys that this process is at; other processes' are seen in the database."""

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


def fingerprint_of(*fields: str | None) -> str:
    """Return what two requests must share to count as the same one."""
    return json.dumps(fields)


def _seconds(time_ms: int) -> int:
    return max(1, -(-time_ms // 1000))
