"""Publish a mail from any service.

::

    broker = KafkaClient(KafkaSettings(bootstrap_servers=("localhost:9092",)))
    await broker.connect()
    sender = MailSender(broker, topic="mails", keyring=KeyRing.load("sealing-keys.json"))
    mail_id = await sender.send_code("123456", "someone@example.com")
"""

from mailtopic_client.adapters.kafka import KafkaClient
from mailtopic_client.adapters.memory import MemoryBroker, StoredRecord
from mailtopic_client.errors import BrokerUnavailable, PublishError, RecordRefused
from mailtopic_client.mail_sender import MailSender
from mailtopic_client.ports import BrokerClient, HeaderList, OutgoingRecord, RecordMetadata
from mailtopic_client.settings import KafkaSettings

__all__ = [
    "BrokerClient",
    "BrokerUnavailable",
    "HeaderList",
    "KafkaClient",
    "KafkaSettings",
    "MailSender",
    "MemoryBroker",
    "OutgoingRecord",
    "PublishError",
    "RecordMetadata",
    "RecordRefused",
    "StoredRecord",
]
