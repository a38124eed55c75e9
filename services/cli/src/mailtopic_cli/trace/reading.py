"""Reads the records, outcomes and dead letters of mails from Kafka."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from uuid import UUID

from mailtopic_cli.dlq.errors import TopicMissing
from mailtopic_cli.dlq.letter import DeadLetter, read_letter
from mailtopic_cli.dlq.ports import TopicReader, TopicRecord
from mailtopic_cli.dlq.progress import Progress
from mailtopic_cli.trace.details import Details
from mailtopic_cli.trace.story import Moment, Source, moment_of
from mailtopic_contract import (
    Address,
    LegacyDefaults,
    MailRecord,
    RecordError,
    TopicNames,
    decode_status,
)

_ID = "mt-id"


@dataclass(slots=True)
class Known:
    """Kafka's records about one mail."""

    moments: list[Moment] = field(default_factory=list)
    accepted_at_ms: int | None = None
    expires_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class KafkaTopics:
    """Searches the topics of a MailTopic for mails."""

    names: TopicNames
    legacy: LegacyDefaults
    reader: TopicReader
    progress: Progress
    since_ms: int | None = None

    async def mails_to(self, address: Address) -> frozenset[UUID]:
        """Return the mails to an address that are still in the main topic.

        Mails from producers that use other keys than the recipient are found as well.

        Raises:
            TopicMissing: there is no such MailTopic.
            BrokerAway: no broker answers in time.
        """
        found: set[UUID] = set()
        domain = address.domain.encode()
        async for record in self._records(self.names.main):
            # Compared as text first: a non-ASCII domain may be written in another form.
            if record.key == address.partition_key or domain in (record.value or b"").lower():
                mail = read_letter(record, self.legacy).mail
                if mail is not None and mail.address == address:
                    found.add(mail.id)
        return frozenset(found)

    async def search(self, mail_ids: frozenset[UUID]) -> dict[UUID, Known]:
        """Return the records about these mails, without mails that have none.

        Raises:
            TopicMissing: there is no such MailTopic.
            BrokerAway: no broker answers in time.
        """
        found: dict[UUID, Known] = {}
        keys = {str(mail_id).encode() for mail_id in mail_ids}
        async for record in self._records(self.names.status):
            if record.key in keys:
                _note_status(found, record)
        for topic in (self.names.main, self.names.dlq):
            async for record in self._records(topic):
                if _may_be_one(record, keys):
                    letter = read_letter(record, self.legacy)
                    mail_id = _id_among(letter, found)
                    if mail_id in mail_ids:
                        _note_record(found.setdefault(mail_id, Known()), letter, self.names)
        self.progress.clear()
        return found

    async def _records(self, topic: str) -> AsyncIterator[TopicRecord]:
        partitions = await self.reader.partitions(topic)
        if not partitions and topic != self.names.dlq:
            raise TopicMissing(f"the topic {topic} does not exist: check --topic and the brokers")
        read = 0
        for partition in range(partitions):
            reading = self.reader.read(topic, partition, since_ms=self.since_ms)
            async with aclosing(reading) as batches:
                async for batch in batches:
                    for record in batch:
                        yield record
                    read += len(batch)
                    self.progress.at(f"Reading {topic}", read)


def _id_among(letter: DeadLetter, found: Mapping[UUID, Known]) -> UUID | None:
    """Return the id of a mail in N.status: versions up to 0.1 derived another one."""
    mail_id = letter.mail.id if letter.mail else letter.id
    former_id = letter.origin.former_id
    return former_id if mail_id not in found and former_id in found else mail_id


def _may_be_one(record: TopicRecord, keys: set[bytes]) -> bool:
    """Whether to decode it: it contains one of the ids, or has no id."""
    value = record.value or b""
    ids = {content for name, content in record.headers if name == _ID}
    if ids:
        return not ids.isdisjoint(keys)
    return b'"code"' in value or any(key in value for key in keys)


def _note_status(found: dict[UUID, Known], record: TopicRecord) -> None:
    try:
        event = decode_status(record.value)
    except RecordError:
        return
    found.setdefault(event.id, Known()).moments.append(moment_of(event))


def _note_record(known: Known, letter: DeadLetter, names: TopicNames) -> None:
    record, headers = letter.record, letter.headers
    place = f"{record.topic}/{record.partition}/{record.offset}"
    if letter.mail is not None:
        _note_times(known, letter.mail)
    details: Details
    if record.topic == names.dlq:
        details = {"place": place, "reason": letter.error_class}
        event, source = "stored in the DLQ", Source.DLQ
    elif headers.attempt > 1:
        details, event, source = {"place": place}, "stored again by a replay", Source.MAIN
    else:
        details, event, source = {"place": place}, "accepted for delivery", Source.MAIN
    if headers.trace is not None:
        details["trace_id"] = headers.trace.traceparent[3:35]
    known.moments.append(Moment(record.timestamp_ms, source, event, None, details))


def _note_times(known: Known, mail: MailRecord) -> None:
    known.accepted_at_ms, known.expires_at_ms = mail.accepted_at, mail.expires_at
