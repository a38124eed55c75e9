"""The operator's settings that apply to all MailTopics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One key of a Secret in the namespace of a MailTopic."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """How senders (and KEDA) reach Kafka; not how the operator itself does.

    Attributes:
        bootstrap_servers: host:port,host:port; reachable from every MailTopic's namespace.
        security_protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        sasl_mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; used with SASL_… only.
        username: the login's user; with SASL_… only.
        password: where the password is; with SASL_… only.
        ca: where the CA certificates for the brokers are; None for the system's.
    """

    bootstrap_servers: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretKey | None = None
    ca: SecretKey | None = None

    @property
    def has_sasl(self) -> bool:
        """Whether senders log in."""
        return self.security_protocol.startswith("SASL")

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol.endswith("SSL")


@dataclass(frozen=True, slots=True)
class SenderDefaults:
    """Defaults for senders where a MailTopic sets nothing.

    Attributes:
        image: the sender's, with tag or digest.
        image_pull_policy: as in a container.
        image_pull_secrets: names, in the namespace of a MailTopic.
        resources: requests and limits of the container.
        log_level: debug, info, warning or error.
        network_policy: whether each MailTopic gets a NetworkPolicy for its senders.
        tracing_endpoint: the collector's OTLP/HTTP address; None: no tracing.
        tracing_sample_ratio: the share of traces begun by senders that is recorded.
        replay_image: with the `mailtopic` command; for MailReplays.
    """

    image: str = "mailtopic/sender:0.1.0"
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)
    log_level: str = "info"
    network_policy: bool = True
    tracing_endpoint: str | None = None
    tracing_sample_ratio: float = 0.1
    replay_image: str = "mailtopic/cli:0.1.0"


@dataclass(frozen=True, slots=True)
class Border:
    """The limits for authors of MailTopics; a spec can't get what isn't allowed here.

    Attributes:
        topic_prefixes: by namespace ("*": all that aren't named), prefixes of topic names ("*": any
            name; "{namespace}" is replaced by the namespace). Existing topics are adopted in such a
            namespace only.
        is_shared: whether MailTopics of several namespaces are reconciled. Topics without a
            configured prefix are then named after their namespace.
        secrets: names of Secrets that MailTopics may refer to without a label; "*": all.
        pod_fields: fields of podTemplate besides those that are always allowed; "*": all.
    """

    topic_prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_shared: bool = False
    secrets: tuple[str, ...] = ()
    pod_fields: tuple[str, ...] = ()

    def prefixes(self, namespace: str) -> tuple[str, ...] | None:
        """Return the prefixes that the settings name for a namespace; None if they name none."""
        named = self.topic_prefixes.get(namespace, self.topic_prefixes.get("*"))
        if named is None:
            return None
        return tuple(each.replace("{namespace}", namespace) for each in named)


@dataclass(frozen=True, slots=True)
class KafkaUsers:
    """How users and ACLs in Kafka are managed.

    Attributes:
        prefix: what the names of all users begin with; another operator of the same Kafka has
            another one.
    """

    prefix: str


@dataclass(frozen=True, slots=True)
class OperatorDefaults:
    """The operator's settings that apply to all MailTopics.

    Attributes:
        kafka_users: None if each MailTopic's senders log in as `kafka` says.
        drain_timeout_s: with deletionPolicy Delete, how long senders continue at most.
        give_up_s: how long after that a deletion that Kafka doesn't allow ends anyway; the topics
            stay then.
        resync_s: how often a MailTopic without events is reconciled.
    """

    kafka: KafkaAccess
    sender: SenderDefaults = field(default_factory=SenderDefaults)
    border: Border = field(default_factory=Border)
    kafka_users: KafkaUsers | None = None
    drain_timeout_s: float = 300.0
    give_up_s: float = 300.0
    resync_s: float = 120.0
