"""The data in Kafka: records, headers, topic names, outcomes, sealing and addresses.

Pure: nothing here opens a connection; only `KeyRing.load` reads a file. Any package may import it.
"""

from mailtopic_contract.address import MAX_ADDRESS_OCTETS, Address, parse_address
from mailtopic_contract.errors import (
    BadAddress,
    ContractError,
    HeaderError,
    KeyRingError,
    RecordError,
    SealingError,
)
from mailtopic_contract.headers import ErrorInfo, MailHeaders, decode_headers, redact
from mailtopic_contract.mail_seal import MailSeal, SealVersion
from mailtopic_contract.mail_value import encode_mail
from mailtopic_contract.outcome import Outcome, StatusEvent, decode_status, encode_outcome
from mailtopic_contract.record import (
    MAX_VALUE_BYTES,
    UNSPECIFIED_PURPOSE,
    LegacyDefaults,
    MailRecord,
    RecordOrigin,
    decode_record,
    is_in_seconds,
    new_record,
    open_variables,
    to_ms,
)
from mailtopic_contract.reply_patterns import MAX_RULE_TEXT, PatternError, compile_pattern
from mailtopic_contract.sealing import KeyRing, Sealed
from mailtopic_contract.tags import signup_tag
from mailtopic_contract.topic_configs import HEADER_ROOM_BYTES, MAX_RECORD_BYTES, topic_config
from mailtopic_contract.topics import DEFAULT_TIERS, RetryTier, TopicNames, parse_tier
from mailtopic_contract.trace_context import TraceContext, read_trace_context
from mailtopic_contract.unread import Unread

__all__ = [
    "DEFAULT_TIERS",
    "HEADER_ROOM_BYTES",
    "MAX_ADDRESS_OCTETS",
    "MAX_RECORD_BYTES",
    "MAX_RULE_TEXT",
    "MAX_VALUE_BYTES",
    "UNSPECIFIED_PURPOSE",
    "Address",
    "BadAddress",
    "ContractError",
    "ErrorInfo",
    "HeaderError",
    "KeyRing",
    "KeyRingError",
    "LegacyDefaults",
    "MailHeaders",
    "MailRecord",
    "MailSeal",
    "Outcome",
    "PatternError",
    "RecordError",
    "RecordOrigin",
    "RetryTier",
    "SealVersion",
    "Sealed",
    "SealingError",
    "StatusEvent",
    "TopicNames",
    "TraceContext",
    "Unread",
    "compile_pattern",
    "decode_headers",
    "decode_record",
    "decode_status",
    "encode_mail",
    "encode_outcome",
    "is_in_seconds",
    "new_record",
    "open_variables",
    "parse_address",
    "parse_tier",
    "read_trace_context",
    "redact",
    "signup_tag",
    "to_ms",
    "topic_config",
]
