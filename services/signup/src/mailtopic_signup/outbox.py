"""A mail on its way into the outbox: the record is made, sealed and encoded before it is stored."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from mailtopic_contract import Address, KeyRing, new_record, signup_tag
from mailtopic_runtime import get_logger
from mailtopic_signup.ports import OutboxMail

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MailMaker:
    """Makes the mails that bring codes. With a key ring no code is readable in what it makes."""

    topic: str
    keyring: KeyRing | None

    def make(
        self,
        address: Address,
        code: str,
        *,
        purpose: str,
        locale: str,
        accepted_at_ms: int,
        expires_at_ms: int,
        traceparent: str | None = None,
    ) -> OutboxMail:
        """Return the mail as it will be published, byte for byte.

        Raises:
            RecordError: the locale or the purpose contradicts the contract.
        """
        mail_id: UUID = uuid4()
        record = new_record(
            email=address.normalised,
            variables={"code": code},
            purpose=purpose,
            locale=locale,
            accepted_at_ms=accepted_at_ms,
            expires_at_ms=expires_at_ms,
            keyring=self.keyring,
            mail_id=mail_id,
        )
        return OutboxMail(
            id=mail_id,
            topic=self.topic,
            key=address.partition_key.decode(),
            type=purpose,
            payload=record.encode(),
            created_at=accepted_at_ms,
            expires_at=expires_at_ms,
            traceparent=traceparent,
        )

    def tell_queued(self, mail: OutboxMail, address: Address, challenge_id: str) -> None:
        """Log that a mail is stored: the line by which support finds it from a signup."""
        tag = self.keyring.recipient_tag(address) if self.keyring is not None else None
        _log.info(
            "mail.queued",
            topic=mail.topic,
            id=str(mail.id),
            signup=signup_tag(challenge_id),
            **({"recipient": tag} if tag else {}),
            **({"trace_id": mail.traceparent[3:35]} if mail.traceparent else {}),
        )
