"""MailTopics that admission refuses, each with what the answer must say.

A field is written as a path; DELETE takes it away. The words are what a user is to write instead.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

DELETE: Final = object()

VALID: Final[Mapping[str, Any]] = {
    "apiVersion": "mailtopic.dev/v1alpha1",
    "kind": "MailTopic",
    "metadata": {"name": "mails", "namespace": "default"},
    "spec": {
        "topic": {"partitions": 8, "replicationFactor": 3, "config": {}},
        "from": {"name": "Example", "address": "noreply@example.net"},
        "relays": [
            {"name": "ses", "host": "smtp.example.net"},
            {"name": "backup", "host": "192.0.2.25", "port": 465, "security": "TLS"},
        ],
        "delivery": {"maxAge": "1h", "retryTiers": ["10s", "1m", "5m"]},
        "consumers": {"replicas": 2, "autoscaling": {"minReplicas": 1, "maxReplicas": 6}},
        "sealing": {"keysSecretRef": {"name": "sealing-keys"}},
        "replies": {"rules": [{"match": "no credit left", "class": "quota", "code": 550}]},
    },
}


@dataclass(frozen=True)
class Refused:
    """A change that makes a valid MailTopic invalid, or, of one that exists, is forbidden."""

    path: str
    value: Any
    words: str

    def __str__(self) -> str:
        shown = "nothing" if self.value is DELETE else repr(self.value)[:40]
        return f"{self.path} = {shown}"

    def manifest(self) -> dict[str, Any]:
        return changed(VALID, self.path, self.value)


def changed(manifest: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of a manifest with another value at a path such as spec/relays/0/port."""
    made = copy.deepcopy(dict(manifest))
    *steps, last = (int(step) if step.isdecimal() else step for step in path.split("/"))
    place: Any = made
    for step in steps:
        place = place[step] if isinstance(step, int) else place.setdefault(step, {})
    if value is DELETE:
        del place[last]
    else:
        place[last] = value
    return made


_RELAY = "spec/relays/0"
_KEY = {"name": "oauth", "key": "secret"}
_CLIENT = {
    "clientSecretRef": _KEY,
    "clientId": "app",
    "tokenUrl": "https://login.example.net/token",
}
_WITH = {"name": "ses", "host": "smtp.example.net", "username": "mailer@example.net"}
_SCALING = "spec/consumers/autoscaling"
_DKIM = {"keysSecretRef": {"name": "dkim"}, "selectors": ["2026a"]}
_RULE = "spec/replies/rules/0"
_DURATION = "write a duration as a whole number and s, m or h"
_HOST = "write the host's name or IP address alone"

INVALID: Final = (
    Refused("metadata/name", "m" * 53, "write a name of at most 52 characters"),
    Refused("spec/topic/partitions", 0, "write 1 to 1000 partitions"),
    Refused("spec/topic/partitions", 1001, "write 1 to 1000 partitions"),
    Refused("spec/topic/partitions", "six", "must be of type integer"),
    Refused("spec/topic/replicationFactor", 0, "write 1 to 15 copies"),
    Refused("spec/topic/replicationFactor", 16, "write 1 to 15 copies"),
    Refused("spec/topic/name", "mails of the shop", "letters, digits, dots, underscores and"),
    Refused("spec/topic/name", "..", "write a topic's name"),
    Refused("spec/topic/name", "mails.dlq", "write the main topic's name"),
    Refused("spec/topic/name", "mails.retry.10s", "write the main topic's name"),
    Refused("spec/topic/name", "mails.status", "write the main topic's name"),
    Refused("spec/topic/name", "__consumer_offsets", "such topics are Kafka's own"),
    Refused("spec/topic/name", "m" * 201, "may not be more than 200"),
    Refused("spec/topic/retention", "7 days", _DURATION),
    Refused("spec/topic/retention", "7d", _DURATION),
    Refused("spec/topic/retention", "30m", "at least as long as delivery.maxAge"),
    Refused("spec/topic/config", {"retention.ms": "1"}, "write topic.retention"),
    Refused("spec/topic/config", {"cleanup.policy": "compact"}, "leave out cleanup.policy"),
    Refused("spec/topic/config", {"minInsyncReplicas": "2"}, "by Kafka's names, such as min."),
    Refused("spec/topic/config", {"min.insync.replicas": 2}, "must be of type string"),
    Refused(
        "spec/topic/config",
        {"leader.replication.throttled.replicas": "*"},
        "leave out throttled replicas",
    ),
    Refused(
        "spec/topic",
        {"config": {"segment.ms": "1"}, "unmanagedConfig": ["segment.ms"]},
        "into either topic.config or topic.unmanagedConfig",
    ),
    Refused("spec/from", DELETE, "spec.from: Required value"),
    Refused("spec/from/address", DELETE, "spec.from.address: Required value"),
    Refused("spec/from/address", "Example <a@example.net>", "write an address alone"),
    Refused("spec/from/address", "почта@example.net", "write an address alone"),
    Refused("spec/from/address", "nobody", "such as noreply@example.net"),
    Refused("spec/relays", [], "should have at least 1 items"),
    Refused("spec/relays", DELETE, "spec.relays: Required value"),
    Refused("spec/relays/1/name", "ses", 'Duplicate value: {"name":"ses"}'),
    Refused(f"{_RELAY}/name", DELETE, "name: Required value"),
    Refused(f"{_RELAY}/name", "Amazon SES", "such as ses or backup"),
    Refused(f"{_RELAY}/host", DELETE, "host: Required value"),
    Refused(f"{_RELAY}/host", "smtp://smtp.example.net", _HOST),
    Refused(f"{_RELAY}/host", "smtp.example.net:587", "the port goes into port"),
    Refused(f"{_RELAY}/port", 99999, "write a port from 1 to 65535: 587 for submission"),
    Refused(f"{_RELAY}/port", 0, "write a port from 1 to 65535"),
    Refused(f"{_RELAY}/security", "SSL", 'supported values: "StartTLS", "TLS", "None"'),
    Refused(f"{_RELAY}/security", "starttls", 'supported values: "StartTLS", "TLS", "None"'),
    Refused(f"{_RELAY}/security", "None", "allowInsecure: true beside None if you accept that"),
    Refused(f"{_RELAY}/credentialsSecretRef", {"name": "Login!"}, "write the object's name only"),
    Refused(f"{_RELAY}/credentialsSecretRef", {}, "name: Required value"),
    Refused(f"{_RELAY}/caSecretRef", {"name": "ca", "key": "a/b"}, "write a key of the object's"),
    Refused(f"{_RELAY}/host", "[2001:db8::1]", _HOST),
    Refused(f"{_RELAY}/mechanisms", ["NTLM"], 'supported values: "PLAIN", "LOGIN", "CRAM-MD5"'),
    Refused(f"{_RELAY}/mechanisms", ["XOAUTH2"], "write mechanisms that fit"),
    Refused(f"{_RELAY}/ehloName", "two words", "write a full host name"),
    Refused(f"{_RELAY}/mailsPerConnection", 0, "write 1 to 1000000 mails"),
    Refused(f"{_RELAY}/timeouts", {"dotS": 0}, "write seconds, above 0"),
    Refused(f"{_RELAY}/timeouts", {"greetingS": 3601}, "write seconds, above 0"),
    Refused(f"{_RELAY}/username", "bob@example.net", "beside oauth; without oauth"),
    Refused(f"{_RELAY}/oauth", _CLIENT, "write username, the mailbox"),
    Refused("spec/relays/0", _WITH | {"oauth": {}}, "write one of clientSecretRef"),
    Refused(
        "spec/relays/0",
        _WITH | {"oauth": _CLIENT | {"tokenRef": _KEY}},
        "write one of clientSecretRef",
    ),
    Refused(
        "spec/relays/0",
        _WITH | {"oauth": _CLIENT | {"tokenUrl": "http://login.example.net/"}},
        "write the token endpoint's https address",
    ),
    Refused(
        "spec/relays/0",
        _WITH | {"oauth": {"clientSecretRef": _KEY}},
        "write clientId and tokenUrl beside",
    ),
    Refused(
        "spec/relays/0",
        _WITH | {"oauth": {"tokenRef": _KEY, "scope": "x"}},
        "write tokenRef alone",
    ),
    Refused(
        "spec/relays/0",
        _WITH | {"oauth": _CLIENT, "mechanisms": ["PLAIN"]},
        "write mechanisms that fit",
    ),
    Refused(
        "spec/relays/0",
        _WITH | {"oauth": _CLIENT, "credentialsSecretRef": {"name": "login"}},
        "write credentialsSecretRef, for a password, or oauth",
    ),
    Refused(f"{_RELAY}/maxConnections", 0, "write 1 to 1000 connections"),
    Refused(f"{_RELAY}/rateLimit", "fast", "such as 14/s or 600/m"),
    Refused(f"{_RELAY}/rateLimit", 14, "must be of type string"),
    Refused(f"{_RELAY}/rateLimit", "0/s", "such as 14/s or 600/m"),
    Refused("spec/template/defaultLocale", "Русский", "write a language tag"),
    Refused("spec/delivery/maxAge", "25h", "write at most 24h"),
    Refused("spec/delivery/maxAge", "PT1H", _DURATION),
    Refused("spec/delivery/retryTiers", ["1m", "10s"], "write retry tiers that grow"),
    Refused("spec/delivery/retryTiers", ["60s", "1m"], "write retry tiers that grow"),
    Refused("spec/delivery/retryTiers", [], "should have at least 1 items"),
    Refused("spec/delivery/retryTiers", ["1m", "48h"], "write retry tiers of at most 24h"),
    Refused("spec/delivery/retryTiers", ["10"], _DURATION),
    Refused("spec/delivery/onUnknown", "Ignore", 'supported values: "Resend", "Hold"'),
    Refused("spec/delivery/maxInFlight", 0, "write 1 to 10000 mails"),
    Refused("spec/consumers/replicas", -1, "write 0 to 1000 senders"),
    Refused(f"{_SCALING}/provider", "HPA", 'supported values: "None", "KEDA"'),
    Refused(f"{_SCALING}/minReplicas", 7, "minReplicas at most as large as maxReplicas"),
    Refused(f"{_SCALING}/maxReplicas", 9, "maxReplicas at most as large as topic.partitions"),
    Refused(f"{_SCALING}/maxReplicas", 0, "write 1 to 1000, at most topic.partitions"),
    Refused(f"{_SCALING}/targetLagSeconds", 0, "write 1 to 3600 seconds"),
    Refused(f"{_SCALING}/mailsPerSecondPerSender", 0, "write 1 to 10000 mails a second"),
    Refused("spec/deadLetter/retention", "two weeks", _DURATION),
    Refused("spec/sealing", {}, "keysSecretRef: Required value"),
    Refused(_RULE, {"match": "x", "class": "accepted"}, 'Unsupported value: "accepted"'),
    Refused(_RULE, {"match": "x"}, "class: Required value"),
    Refused(_RULE, {"class": "quota"}, "match: Required value"),
    Refused(_RULE, {"match": "", "class": "quota"}, "should be at least 1 chars long"),
    Refused(_RULE, {"match": "x" * 201, "class": "quota"}, "may not be more than 200"),
    Refused(_RULE, {"match": "x", "class": "quota", "code": 250}, "write a basic reply code"),
    Refused(_RULE, {"match": "x", "class": "quota", "phase": "dot"}, 'Unsupported value: "dot"'),
    Refused("spec/dkim", {"selectors": ["2026a"]}, "keysSecretRef: Required value"),
    Refused("spec/dkim", {**_DKIM, "selectors": []}, "should have at least 1 items"),
    Refused("spec/dkim", {**_DKIM, "selectors": ["2026a", "2026a"]}, "Duplicate value"),
    Refused("spec/dkim", {**_DKIM, "selectors": ["2026/a"]}, "write a selector: letters"),
    Refused("spec/dkim", {**_DKIM, "domain": "example"}, "write a domain in lower case"),
    Refused("spec/dkim", {**_DKIM, "domain": "192.0.2.1"}, "write a domain in lower case"),
    Refused("spec/deletionPolicy", "Orphan", 'supported values: "Retain", "Delete"'),
    Refused("spec/paused", "yes", "must be of type boolean"),
)

FORBIDDEN: Final = (
    Refused("spec/topic/partitions", 5, "write at least as many as before"),
    Refused("spec/topic/name", "letters", "a topic can't be renamed: write the old topic.name"),
    Refused("spec/topic/replicationFactor", 2, "write the old topic.replicationFactor"),
    Refused("spec/topic/replicationFactor", DELETE, "write the old topic.replicationFactor"),
)
"""Changes of the valid MailTopic once it exists."""
