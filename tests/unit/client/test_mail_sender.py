"""Publishing a mail from another service."""

import pytest
from pydantic import ValidationError

from mailtopic_client import (
    BrokerUnavailable,
    KafkaSettings,
    MailSender,
    MemoryBroker,
    OutgoingRecord,
)
from mailtopic_contract import (
    BadAddress,
    KeyRing,
    LegacyDefaults,
    MailSeal,
    RecordOrigin,
    TraceContext,
    decode_headers,
    decode_record,
    open_variables,
)
from mailtopic_runtime import ManualClock, SettingError


async def test_a_code_is_published_sealed_and_keyed_by_its_recipient() -> None:
    broker, keyring, clock = MemoryBroker(), KeyRing.generate(), ManualClock(1000)
    sender = MailSender(broker, topic="mails", keyring=keyring, ttl_s=60, clock=clock)
    mail_id = await sender.send_code("123456", "Someone@B.test", locale="en")
    (stored,) = broker.stored("mails")
    record = decode_record(
        stored.value,
        origin=RecordOrigin("mails", stored.partition, stored.offset, 0),
        legacy=LegacyDefaults("ru", 1),
    )
    assert record.id == mail_id == decode_headers(stored.headers).mail_id
    assert (record.locale, record.accepted_at, record.expires_at) == ("en", 1000, 61_000)
    assert stored.key == record.address.partition_key
    assert open_variables(record, MailSeal(keyring, "mails")) == {"code": "123456"}
    assert b"123456" not in (stored.value or b"")


async def test_a_mail_continues_its_callers_trace_if_that_is_one() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    broker = MemoryBroker()
    sender = MailSender(broker, topic="mails", keyring=None)
    await sender.send_code("1", "a@b.test", traceparent=parent, tracestate="rojo=1")
    await sender.send_code("1", "a@b.test", traceparent="00-made-up", tracestate="rojo=1")
    await sender.send_code("1", "a@b.test", tracestate="rojo=1")
    traces = [decode_headers(record.headers).trace for record in broker.stored("mails")]
    assert traces == [TraceContext(parent, "rojo=1"), None, None]


async def test_a_bad_address_is_refused_before_anything_is_published() -> None:
    broker = MemoryBroker()
    with pytest.raises(BadAddress):
        await MailSender(broker, topic="mails", keyring=None).send_code("1", "a@b.c\r\nX: y")
    assert broker.records == []


async def test_a_broker_that_is_away_is_an_error_of_the_caller() -> None:
    sender = MailSender(MemoryBroker(available=False), topic="mails", keyring=None)
    with pytest.raises(BrokerUnavailable):
        await sender.send_code("1", "a@b.c")


@pytest.mark.parametrize("servers", ["", "kafka", "kafka:", "kafka:x", "http://k:9092", "a b:1"])
def test_something_else_than_host_and_port_is_no_broker(servers: str) -> None:
    with pytest.raises(ValidationError):
        KafkaSettings(bootstrap_servers=(servers,))


def test_sasl_without_a_password_names_the_setting() -> None:
    settings = KafkaSettings(
        bootstrap_servers=("kafka:9092",), security_protocol="SASL_PLAINTEXT", username="sender"
    )
    with pytest.raises(SettingError, match="MAILTOPIC_KAFKA__PASSWORD"):
        settings.client_kwargs()


def test_a_ca_file_that_cannot_be_read_names_the_setting() -> None:
    settings = KafkaSettings(
        bootstrap_servers=("kafka:9092",), security_protocol="SSL", ca_file="/nothing"
    )
    with pytest.raises(SettingError, match="MAILTOPIC_KAFKA__CA_FILE"):
        settings.client_kwargs()


async def test_the_shipped_fake_takes_batches_as_it_takes_records() -> None:
    broker = MemoryBroker()
    batch = [OutgoingRecord(b"a", b"1"), OutgoingRecord(b"b", None, (("name", b"x"),), 5)]
    await broker.publish("mails.status", key=b"0", value=b"0", partition=2)
    assert await broker.publish_batch("mails.status", 2, batch) == [1, 2]
    assert [
        OutgoingRecord(stored.key, stored.value, stored.headers, stored.timestamp_ms)
        for stored in broker.stored("mails.status")[1:]
    ] == batch
    (chosen,) = await broker.partitions_for("mails", [b"key"])
    assert chosen == (await broker.publish("mails", key=b"key", value=b"")).partition
    broker.available = False
    with pytest.raises(BrokerUnavailable):
        await broker.partitions_for("mails", [b"key"])
    with pytest.raises(BrokerUnavailable):
        await broker.publish_batch("mails.status", 2, batch)
