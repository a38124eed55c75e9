"""Publish a mail and forget about it."""

from collections.abc import Mapping
from uuid import UUID

from mailtopic_client.ports import BrokerClient, RecordMetadata
from mailtopic_contract import (
    KeyRing,
    MailHeaders,
    MailRecord,
    TraceContext,
    new_record,
    read_trace_context,
)
from mailtopic_runtime import Clock, SystemClock

DEFAULT_TTL_S = 600


class MailSender:
    """Puts mails on a MailTopic's topic.

    When a method returns, the mail is stored in Kafka and will end in exactly one recorded
    outcome. It doesn't say that the mail was delivered. When a method raises BrokerUnavailable,
    the mail may be stored or not.

    Args:
        broker: publishes the records; the caller connects and closes it.
        topic: the MailTopic's main topic.
        keyring: seals the variables. None leaves them readable in Kafka: only for trials.
        locale: the language of mails without one of their own.
        ttl_s: seconds after which a mail is no longer sent.
        clock: the time at which a mail is accepted.
    """

    def __init__(
        self,
        broker: BrokerClient,
        *,
        topic: str,
        keyring: KeyRing | None,
        locale: str = "ru",
        ttl_s: float = DEFAULT_TTL_S,
        clock: Clock | None = None,
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._keyring = keyring
        self._locale = locale
        self._ttl_ms = round(ttl_s * 1000)
        self._clock = clock or SystemClock()

    async def send_code(
        self,
        code: str,
        email: str,
        *,
        locale: str | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
    ) -> UUID:
        """Publish the mail that brings a one-time code to an address; returns the mail's id.

        See `send` for the arguments.

        Raises:
            RecordError: the address or another argument contradicts the contract.
            PublishError: the mail wasn't acknowledged.
        """
        return await self.send(
            {"code": code},
            email,
            purpose="signup",
            locale=locale,
            traceparent=traceparent,
            tracestate=tracestate,
        )

    async def send(
        self,
        variables: Mapping[str, str],
        email: str,
        *,
        purpose: str,
        locale: str | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
    ) -> UUID:
        """Publish a mail with a template's variables; returns the mail's id.

        Args:
            variables: what the template's placeholders stand for.
            email: the recipient.
            purpose: which template.
            locale: the mail's language; None: the sender's.
            traceparent: the trace that the mail continues (W3C Trace Context), as your tracing
                library injects it; one that isn't valid is left out.
            tracestate: the header beside it.

        Raises:
            RecordError: an argument contradicts the contract.
            PublishError: the mail wasn't acknowledged.
        """
        now_ms = self._clock.now_ms()
        record = new_record(
            email=email,
            variables=variables,
            purpose=purpose,
            locale=locale or self._locale,
            accepted_at_ms=now_ms,
            expires_at_ms=now_ms + self._ttl_ms,
            keyring=self._keyring,
        )
        given = [] if traceparent is None else [traceparent]
        trace = read_trace_context(given, [] if tracestate is None else [tracestate])
        await self.publish(record, trace=trace)
        return record.id

    async def publish(
        self, record: MailRecord, *, trace: TraceContext | None = None
    ) -> RecordMetadata:
        """Publish a mail that was made earlier, such as one from an outbox.

        Raises:
            PublishError: the mail wasn't acknowledged.
        """
        return await self._broker.publish(
            self._topic,
            key=record.address.partition_key,
            value=record.encode(),
            headers=MailHeaders(mail_id=record.id, trace=trace).encode(),
            timestamp_ms=record.accepted_at,
        )
