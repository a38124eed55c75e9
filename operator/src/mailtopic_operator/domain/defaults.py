"""What the operator's settings say about all MailTopics."""

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
        username: who logs in; with SASL_… only.
        password: where the password is; with SASL_… only.
        ca: where the brokers' authorities are; None for the system's.
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
    """What senders are like where a MailTopic doesn't say.

    Attributes:
        image: of the sender, with tag or digest.
        image_pull_policy: as in a container.
        image_pull_secrets: names, in the namespace of a MailTopic.
        resources: requests and limits of the container.
        log_level: debug, info, warning or error.
        network_policy: whether each MailTopic gets a NetworkPolicy for its senders.
        tracing_endpoint: the collector's OTLP/HTTP address; None: no tracing.
        tracing_sample_ratio: share of the traces begun by senders that are recorded.
        replay_image: has the `mailtopic` command; for MailReplays.
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
class OperatorDefaults:
    """What the operator's settings say about all MailTopics.

    Attributes:
        drain_timeout_s: with deletionPolicy Delete, senders go on for so long at most.
        give_up_s: a deletion that Kafka doesn't let through ends so long after that anyway, and
            the topics stay.
        resync_s: a MailTopic that nothing happens to is looked at so often.
    """

    kafka: KafkaAccess
    sender: SenderDefaults = field(default_factory=SenderDefaults)
    drain_timeout_s: float = 300.0
    give_up_s: float = 300.0
    resync_s: float = 120.0
