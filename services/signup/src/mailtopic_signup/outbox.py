"""A mail on its way into the outbox: the record is made, sealed and encoded before it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from mailtopic_contract import (
    Address,
    KeyRing,
    Outcome,
    StatusEvent,
    TopicNames,
    new_record,
    signup_tag,
)
from mailtopic_runtime import get_logger
from mailtopic_signup.ports import OutboxMail

_log = get_logger(__name__)


@dataclass(slots=True)
class MailMaker:
    """Makes mails. With a key ring no variable, such as a code, is readable in what it makes.

    The key ring may be replaced while it is used.
    """

    topic: str
    keyring: KeyRing | None

    def make(
        self,
        address: Address,
        variables: Mapping[str, str],
        *,
        mail_id: UUID,
        topic: str | None = None,
        purpose: str,
        locale: str,
        accepted_at_ms: int,
        expires_at_ms: int,
        traceparent: str | None = None,
    ) -> OutboxMail:
        """Return the mail as it will be published, byte for byte; without a topic, to our own.

        Raises:
            RecordError: an argument contradicts the contract.
        """
        record = new_record(
            email=address.normalised,
            variables=variables,
            purpose=purpose,
            locale=locale,
            accepted_at_ms=accepted_at_ms,
            expires_at_ms=expires_at_ms,
            keyring=self.keyring,
            mail_id=mail_id,
        )
        return OutboxMail(
            id=mail_id,
            topic=topic or self.topic,
            key=address.partition_key.decode(),
            type=purpose,
            payload=record.encode(),
            created_at=accepted_at_ms,
            expires_at=expires_at_ms,
            traceparent=traceparent,
        )

    def tell_queued(self, mail: OutboxMail, address: Address, challenge_id: str | None) -> None:
        """Log that a mail is stored: the line by which support finds it from a signup.

        Without a challenge it is another service's.
        """
        tag = self.keyring.recipient_tag(address) if self.keyring is not None else None
        _log.info(
            "mail.queued",
            topic=mail.topic,
            id=str(mail.id),
            **({"signup": signup_tag(challenge_id)} if challenge_id else {}),
            **({"recipient": tag} if tag else {}),
            **({"trace_id": mail.traceparent[3:35]} if mail.traceparent else {}),
        )


def suppressed_instead(mail: OutboxMail) -> OutboxMail:
    """Return what is published instead of a mail whose recipient is suppressed: that outcome.

    So it has its outcome as every accepted mail has, in the same topic.
    """
    event = StatusEvent(
        id=mail.id,
        outcome=Outcome.SUPPRESSED,
        at=mail.created_at,
        attempt=1,
        purpose=mail.type,
    )
    topic = TopicNames(mail.topic).status
    return replace(mail, topic=topic, key=str(mail.id), type="outcome", payload=event.encode())
