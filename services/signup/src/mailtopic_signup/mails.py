"""Mails from other services: stored like signups' mails, with the same guarantee."""

import hashlib
from collections.abc import Callable
from uuid import UUID, uuid4

from mailtopic_contract import Address, RecordError
from mailtopic_runtime import Clock
from mailtopic_signup.domain.challenge import DAY_MS
from mailtopic_signup.domain.code import Peppers
from mailtopic_signup.domain.mailbox import address_key
from mailtopic_signup.domain.tokens import Caller
from mailtopic_signup.errors import BadField, TopicNotAllowed, UnknownMail
from mailtopic_signup.outbox import MailMaker
from mailtopic_signup.ports import IdempotentAnswer, MailStore, OutboxMail, SentMail
from mailtopic_signup.recipients import Recipients
from mailtopic_signup.schemas import MailAccepted, MailRequest, MailState, MailStatus, moment
from mailtopic_signup.service import canonical_text


class MailService:
    """What services may do: send a mail, and read its status.

    Nothing here waits for Kafka or for a relay. A suppressed recipient makes no difference to the
    answer; it shows in the mail's status.
    """

    def __init__(
        self,
        store: MailStore,
        *,
        recipients: Recipients,
        peppers: Peppers,
        mails: MailMaker,
        clock: Clock,
        on_queued: Callable[[str], None],
    ) -> None:
        self._store = store
        self._recipients = recipients
        self._peppers = peppers
        self._mails = mails
        self._clock = clock
        self._on_queued = on_queued

    async def take(
        self, caller: Caller, request: MailRequest, *, locale: str, traceparent: str | None = None
    ) -> bytes:
        """Take a mail; returns the JSON of the MailAccepted.

        When it returns, the mail is stored and will be published, whatever happens to Kafka or to
        this process.

        Raises:
            TopicNotAllowed: the caller's token isn't for this topic; whether the topic exists isn't
                revealed.
            BadField: a field can't be used, or the idempotency key came with another mail before.
            DatabaseUnavailable: nothing was stored.
        """
        if request.topic not in caller.topics:
            raise TopicNotAllowed
        address = await self._recipients.admit(request.to, field="to")
        mail = self._make(address, request, locale, traceparent)
        body = _accepted(mail)
        fingerprints = self._fingerprints(request)
        taken = await self._store.take(
            mail,
            _remembered(mail, caller, address),
            answer=_answer(request, fingerprints[0], body, mail.created_at),
            body=body,
            fingerprints=fingerprints,
        )
        if taken.result == "mismatch":
            raise BadField("idempotency_key", "was used with another mail before")
        if taken.result == "stored":
            self._mails.tell_queued(mail, address, sent_by=caller.token_id)
            self._on_queued(mail.topic)
        return taken.body

    async def status(self, caller: Caller, mail_id: UUID) -> MailStatus:
        """Return a mail's status.

        Raises:
            UnknownMail: there is none with this id, or not in a topic of the caller's.
        """
        mail = await self._store.read(mail_id)
        if mail is None or mail.topic not in caller.topics:
            raise UnknownMail
        return MailStatus(
            id=mail.id,
            topic=mail.topic,
            state=MailState(mail.outcome) if mail.outcome else MailState.QUEUED,
            state_at=moment(mail.accepted_at if mail.outcome_at is None else mail.outcome_at),
            smtp=mail.smtp,
            accepted_at=moment(mail.accepted_at),
            expires_at=moment(mail.expires_at),
        )

    def _make(
        self, address: Address, request: MailRequest, locale: str, traceparent: str | None
    ) -> OutboxMail:
        now_ms = self._clock.now_ms()
        try:
            return self._mails.make(
                address,
                request.variables,
                mail_id=uuid4(),
                topic=request.topic,
                purpose=request.purpose,
                locale=locale,
                accepted_at_ms=now_ms,
                expires_at_ms=now_ms + request.expires_in * 1000,
                traceparent=traceparent,
            )
        except RecordError as error:
            # The schema accepted it and the contract doesn't; its errors quote no input.
            name, _, problem = str(error).partition(": ")
            raise BadField(name, problem or name) from None

    def _fingerprints(self, request: MailRequest) -> tuple[str, ...]:
        """What two requests with one idempotency key must share.

        Uses a keyed hash: a plain one would let an attacker brute-force the code.
        """
        fields = request.model_dump_json(exclude={"idempotency_key"})
        return self._peppers.tags(canonical_text("mail", fields))


def _remembered(mail: OutboxMail, caller: Caller, address: Address) -> SentMail:
    return SentMail(
        id=mail.id,
        topic=mail.topic,
        sent_by=caller.token_id,
        recipient_key=address_key(address),
        recipient=address.redacted,
        accepted_at=mail.created_at,
        expires_at=mail.expires_at,
    )


def _accepted(mail: OutboxMail) -> bytes:
    accepted = MailAccepted(id=mail.id, expires_at=moment(mail.expires_at))
    return accepted.model_dump_json().encode()


def _answer(
    request: MailRequest, fingerprint: str, body: bytes, now_ms: int
) -> IdempotentAnswer | None:
    if request.idempotency_key is None:
        return None
    # By topic, not by token: a request may be repeated under a token that replaced the first one.
    scope = canonical_text("mail", request.topic, request.idempotency_key)
    return IdempotentAnswer(
        key=hashlib.sha256(scope.encode()).hexdigest(),
        fingerprint=fingerprint,
        body=body,
        expires_at=now_ms + DAY_MS,
    )
