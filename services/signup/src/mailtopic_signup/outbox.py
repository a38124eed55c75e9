"""A mail on its way into the outbox: the record is made, sealed and encoded before it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

from mailtopic_contract import (
    Address,
    KeyRing,
    Outcome,
    StatusEvent,
    TopicNames,
    new_record,
)
from mailtopic_signup.ports import OutboxMail


@dataclass(frozen=True, slots=True)
class MailMaker:
    """Makes mails. With a key ring no variable, such as a code, is readable in what it makes."""

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
        return self.make_any(
            address,
            {"code": code},
            topic=self.topic,
            purpose=purpose,
            locale=locale,
            accepted_at_ms=accepted_at_ms,
            expires_at_ms=expires_at_ms,
            traceparent=traceparent,
        )

    def make_any(
        self,
        address: Address,
        variables: Mapping[str, str],
        *,
        topic: str,
        purpose: str,
        locale: str,
        accepted_at_ms: int,
        expires_at_ms: int,
        traceparent: str | None = None,
    ) -> OutboxMail:
        """Return a mail with whatever variables, for whatever topic.

        Raises:
            RecordError: an argument contradicts the contract.
        """
        mail_id: UUID = uuid4()
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
            topic=topic,
            key=address.partition_key.decode(),
            type=purpose,
            payload=record.encode(),
            created_at=accepted_at_ms,
            expires_at=expires_at_ms,
            traceparent=traceparent,
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
