"""Mails for the outbox: the record is made, sealed and encoded before it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from uuid import UUID

from mailtopic_contract import (
    Address,
    KeyRing,
    MailSeal,
    Outcome,
    SealVersion,
    TopicNames,
    encode_mail,
    encode_outcome,
    signup_tag,
)
from mailtopic_runtime import get_logger
from mailtopic_signup.ports import OutboxMail

_log = get_logger(__name__)


@dataclass(slots=True)
class MailMaker:
    """Makes mails. With a key ring no variable, such as a code, is readable in them.

    The key ring may be replaced while it is used.
    """

    topic: str
    keyring: KeyRing | None
    sealing_version: SealVersion = 2

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
        """Return the mail as it will be published, byte for byte; the default topic is our own.

        Raises:
            RecordError: an argument contradicts the contract.
        """
        topic = topic or self.topic
        seal = None
        if self.keyring is not None:
            seal = MailSeal(self.keyring, topic, version=self.sealing_version)
        payload = encode_mail(
            address,
            variables,
            mail_id=mail_id,
            purpose=purpose,
            locale=locale,
            accepted_at_ms=accepted_at_ms,
            expires_at_ms=expires_at_ms,
            seal=seal,
        )
        return OutboxMail(
            id=mail_id,
            topic=topic,
            key=address.partition_key.decode(),
            type=purpose,
            payload=payload,
            created_at=accepted_at_ms,
            expires_at=expires_at_ms,
            traceparent=traceparent,
        )

    def tell_queued(
        self,
        mail: OutboxMail,
        address: Address,
        challenge_id: str | None = None,
        *,
        sent_by: str | None = None,
    ) -> None:
        """Log that a mail is stored: the line by which support finds it.

        ``challenge_id``: its signup; ``sent_by``: the id of the sending service's token.
        """
        tag = self.keyring.recipient_tag(address) if self.keyring is not None else None
        _log.info(
            "mail.queued",
            topic=mail.topic,
            id=str(mail.id),
            **({"signup": signup_tag(challenge_id)} if challenge_id else {}),
            **({"sent_by": sent_by} if sent_by else {}),
            **({"recipient": tag} if tag else {}),
            **({"trace_id": mail.traceparent[3:35]} if mail.traceparent else {}),
        )


def suppressed_instead(mail: OutboxMail) -> OutboxMail:
    """Return what is published instead of a mail whose recipient is suppressed: that outcome.

    So it has an outcome like every accepted mail, in the same topic.
    """
    key, value = encode_outcome(
        mail.id, Outcome.SUPPRESSED, at_ms=mail.created_at, attempt=1, purpose=mail.type
    )
    topic = _status_topic(mail.topic)
    return replace(mail, topic=topic, key=key.decode("ascii"), type="outcome", payload=value)


@lru_cache
def _status_topic(topic: str) -> str:
    return TopicNames(topic).status
