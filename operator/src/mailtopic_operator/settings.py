"""The operator's settings."""

import re
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from mailtopic_operator.domain.defaults import (
    Border,
    KafkaAccess,
    OperatorDefaults,
    SecretKey,
    SenderDefaults,
)
from mailtopic_operator.engine.assembly import Limits
from mailtopic_runtime import LogSettings, MailTopicSettings, MetricsSettings, SettingsGroup

_PREFIX = re.compile(r"\*|(?!__)([A-Za-z0-9._-]|\{namespace\}){1,200}")
_FIELD = re.compile(r"\*|(metadata|spec)(\.[A-Za-z]+)*")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
_Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def _servers(servers: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_SERVER.fullmatch(server) for server in servers):
        raise ValueError("must be host:port, or several of them separated by commas")
    return servers


class KafkaSettings(SettingsGroup):
    """How the operator itself reaches Kafka; below MAILTOPIC_KAFKA__."""

    bootstrap_servers: tuple[str, ...] = Field(min_length=1)
    """Brokers to begin with, as host:port,host:port."""

    security_protocol: _Protocol = "PLAINTEXT"
    """Whether connections are encrypted and log in."""

    sasl_mechanism: _Mechanism = "SCRAM-SHA-512"
    """How to log in, where the protocol is SASL_…"""

    username: str | None = None
    """The user name to log in with."""

    password: SecretStr | None = None
    """The password of the user who logs in."""

    ca_file: str | None = None
    """PEM file of the authorities that sign brokers' certificates; unset: the system's."""

    request_timeout_s: float = Field(default=10.0, gt=0, le=120)
    """Seconds that one request to the admin API may take before Kafka counts as away."""

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_servers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        return _servers(servers)

    @model_validator(mode="after")
    def _can_log_in(self) -> Self:
        if self.security_protocol.startswith("SASL") and not (self.username and self.password):
            raise ValueError(
                "MAILTOPIC_KAFKA__USERNAME and MAILTOPIC_KAFKA__PASSWORD are required for SASL"
            )
        return self


class SenderKafkaSettings(SettingsGroup):
    """How senders reach Kafka; below MAILTOPIC_OPERATOR__SENDER__KAFKA__.

    Secrets are named, never read: each must lie in the MailTopic's own namespace.
    """

    bootstrap_servers: tuple[str, ...] = ()
    """Brokers to begin with; unset: the operator's own."""

    security_protocol: _Protocol | None = None
    """Whether connections are encrypted and log in; unset: as the operator's own."""

    sasl_mechanism: _Mechanism | None = None
    """How to log in; unset: as the operator's own."""

    username: str | None = None
    """The user name to log in with, where the protocol is SASL_…"""

    password_secret: str | None = None
    """Name of the Secret with that user's password."""

    password_key: str = "password"  # noqa: S105 - a key's name
    """The password's key in that Secret."""

    ca_secret: str | None = None
    """Name of the Secret with the authorities that sign brokers' certificates."""

    ca_key: str = "ca.crt"
    """The authorities' key in that Secret."""

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_servers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        return _servers(servers)


class SenderTracingSettings(SettingsGroup):
    """Where senders' spans go; below MAILTOPIC_OPERATOR__SENDER__TRACING__."""

    endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s/@]+(/[^\s@]*)?$")
    """The collector's OTLP/HTTP address, as senders reach it. Unset: no tracing."""

    sample_ratio: float = Field(default=0.1, ge=0, le=1)
    """Share of the traces begun by senders that are recorded."""


class SenderSettings(SettingsGroup):
    """What senders are started as; below MAILTOPIC_OPERATOR__SENDER__."""

    image: str = "mailtopic/sender:0.1.0"
    """Image of the senders."""

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When that image is pulled."""

    image_pull_secrets: tuple[str, ...] = ()
    """Names of the Secrets that open the image's registry."""

    resources: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Requests and limits of a sender where its MailTopic doesn't say, as JSON."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines that senders write."""

    pod_template_fields: tuple[str, ...] = ()
    """Fields that a podTemplate may set beside labels, annotations, resources, scheduling and
    security contexts that don't widen, such as spec.volumes; * for all of them."""

    network_policy: bool = True
    """Whether each MailTopic gets a NetworkPolicy for its senders."""

    tracing: SenderTracingSettings = Field(default_factory=SenderTracingSettings)
    kafka: SenderKafkaSettings = Field(default_factory=SenderKafkaSettings)

    @field_validator("pod_template_fields")
    @classmethod
    def _are_fields(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_FIELD.fullmatch(each) for each in fields):
            raise ValueError("must be fields such as spec.volumes, separated by commas, or *")
        return fields


class TopicSettings(SettingsGroup):
    """Which topics are touched; below MAILTOPIC_OPERATOR__TOPICS__."""

    prefixes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """What topics' names begin with, by namespace, as JSON: {"shop": ["shop-"]}. "*" stands for all
    other namespaces, {namespace} for the namespace's name, the prefix * for any name. Topics
    that exist are adopted in a namespace with an entry only. Without one, topics may be created:
    under any name where one namespace is watched, else named after their namespace."""

    @field_validator("prefixes")
    @classmethod
    def _are_prefixes(cls, prefixes: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if not all(each == "*" or _NAME.fullmatch(each) for each in prefixes):
            raise ValueError("must be named by namespaces, or *")
        if not all(_PREFIX.fullmatch(each) for some in prefixes.values() for each in some):
            raise ValueError("must list what topics' names begin with, not with '__'; * is any")
        return prefixes


class SecretsSettings(SettingsGroup):
    """Which Secrets MailTopics may refer to; below MAILTOPIC_OPERATOR__SECRETS__."""

    allowed: tuple[str, ...] = ()
    """Names of Secrets that need no label mailtopic.dev/use; * for all of them."""

    @field_validator("allowed")
    @classmethod
    def _are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not all(each == "*" or _NAME.fullmatch(each) for each in names):
            raise ValueError("must be names of Secrets, separated by commas, or *")
        return names


class ReplaySettings(SettingsGroup):
    """What MailReplays are run by; below MAILTOPIC_OPERATOR__REPLAY__."""

    image: str = "mailtopic/cli:0.1.0"
    """Image with the command `mailtopic`; pulled as the senders' image is."""


class DeletionSettings(SettingsGroup):
    """How MailTopics with deletionPolicy Delete end; below MAILTOPIC_OPERATOR__DELETION__."""

    drain_timeout_s: float = Field(default=300.0, ge=0, le=86_400)
    """Seconds that senders go on at most, so that what waits is still delivered."""

    give_up_s: float = Field(default=300.0, ge=0, le=86_400)
    """Seconds after that for which Kafka is asked to delete the topics; then they stay."""


class ReconcileSettings(SettingsGroup):
    """How often, and how much at once; below MAILTOPIC_OPERATOR__RECONCILE__."""

    resync_s: float = Field(default=120.0, ge=0.5, le=3600)
    """Seconds between two looks at everything, whether anything was said to have changed or not."""

    sample_s: float = Field(default=30.0, ge=0.2, le=3600)
    """Seconds between two looks at how much waits, in topics and DLQs."""

    batch_size: int = Field(default=100, ge=1, le=500)
    """Resources that are reconciled together, their topics in the same requests."""

    linger_s: float = Field(default=0.1, ge=0, le=10)
    """Seconds that a batch waits for more to join it."""

    api_concurrency: int = Field(default=8, ge=1, le=64)
    """Requests to the Kubernetes API on their way at once."""

    def limits(self) -> Limits:
        """Return them as the engine takes them."""
        return Limits(**self.model_dump())


class LeaseSettings(SettingsGroup):
    """Which of several replicas acts; below MAILTOPIC_OPERATOR__LEASE__."""

    name: str = "mailtopic-operator"
    """Name of the Lease that all replicas share."""

    namespace: str = "default"
    """Namespace of that Lease; in a pod its own."""

    identity: str | None = None
    """Who this replica is; unset: the host's name and a random part."""

    duration_s: float = Field(default=15.0, ge=1, le=300)
    """Seconds after which a replica that is silent may be followed by another."""

    renew_s: float = Field(default=2.0, ge=0.1, le=60)
    """Seconds between two renewals, and between two looks at somebody else's lease."""

    @field_validator("name", "namespace")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("must be a name of Kubernetes: lower case, digits, dashes and dots")
        return name

    @model_validator(mode="after")
    def _renews_in_time(self) -> Self:
        if self.renew_s * 3 > self.duration_s:
            raise ValueError(
                "MAILTOPIC_OPERATOR__LEASE__RENEW_S must be a third of"
                " MAILTOPIC_OPERATOR__LEASE__DURATION_S at most"
            )
        return self


class OperatorGroup(SettingsGroup):
    """The operator's own; below MAILTOPIC_OPERATOR__."""

    watch_namespaces: tuple[str, ...] = ()
    """Namespaces whose MailTopics are reconciled; unset: all of the cluster's."""

    watch_stale_s: float = Field(default=180.0, ge=10, le=3600)
    """Seconds without an event or a bookmark after which a watch counts as dead, and so do we."""

    topics: TopicSettings = Field(default_factory=TopicSettings)
    secrets: SecretsSettings = Field(default_factory=SecretsSettings)
    sender: SenderSettings = Field(default_factory=SenderSettings)
    replay: ReplaySettings = Field(default_factory=ReplaySettings)
    deletion: DeletionSettings = Field(default_factory=DeletionSettings)
    reconcile: ReconcileSettings = Field(default_factory=ReconcileSettings)
    lease: LeaseSettings = Field(default_factory=LeaseSettings)

    @field_validator("watch_namespaces")
    @classmethod
    def _are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_NAME.fullmatch(name) for name in names):
            raise ValueError("must be names of namespaces, separated by commas; no patterns")
        return names


class OperatorSettings(MailTopicSettings):
    """All settings of the operator."""

    kafka: KafkaSettings
    operator: OperatorGroup = Field(default_factory=OperatorGroup)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @model_validator(mode="after")
    def _senders_can_log_in(self) -> Self:
        kafka = self.operator.sender.kafka
        protocol = kafka.security_protocol or self.kafka.security_protocol
        if protocol.startswith("SASL") and not (kafka.username and kafka.password_secret):
            raise ValueError(
                "MAILTOPIC_OPERATOR__SENDER__KAFKA__USERNAME and …__PASSWORD_SECRET are required"
                " where senders log in by SASL"
            )
        return self

    def defaults(self) -> OperatorDefaults:
        """Return what is the same for all MailTopics."""
        own, sender, deletion = self.kafka, self.operator.sender, self.operator.deletion
        kafka = sender.kafka
        password = kafka.password_secret
        return OperatorDefaults(
            kafka=KafkaAccess(
                bootstrap_servers=",".join(kafka.bootstrap_servers or own.bootstrap_servers),
                security_protocol=kafka.security_protocol or own.security_protocol,
                sasl_mechanism=kafka.sasl_mechanism or own.sasl_mechanism,
                username=kafka.username,
                password=SecretKey(password, kafka.password_key) if password else None,
                ca=SecretKey(kafka.ca_secret, kafka.ca_key) if kafka.ca_secret else None,
            ),
            sender=SenderDefaults(
                image=sender.image,
                image_pull_policy=sender.image_pull_policy,
                image_pull_secrets=sender.image_pull_secrets,
                resources=sender.resources,
                log_level=sender.log_level,
                network_policy=sender.network_policy,
                tracing_endpoint=sender.tracing.endpoint,
                tracing_sample_ratio=sender.tracing.sample_ratio,
                replay_image=self.operator.replay.image,
            ),
            border=Border(
                topic_prefixes=self.operator.topics.prefixes,
                is_shared=len(self.operator.watch_namespaces) != 1,
                secrets=self.operator.secrets.allowed,
                pod_fields=sender.pod_template_fields,
            ),
            drain_timeout_s=deletion.drain_timeout_s,
            give_up_s=deletion.give_up_s,
            resync_s=self.operator.reconcile.resync_s,
        )

    def client_config(self) -> dict[str, Any]:
        """Return the operator's own connection in librdkafka's words."""
        kafka = self.kafka
        config: dict[str, Any] = {
            "bootstrap.servers": ",".join(kafka.bootstrap_servers),
            "security.protocol": kafka.security_protocol,
            "client.id": "mailtopic-operator",
        }
        if kafka.security_protocol.startswith("SASL") and kafka.password is not None:
            config["sasl.mechanism"] = kafka.sasl_mechanism
            config["sasl.username"] = kafka.username
            config["sasl.password"] = kafka.password.get_secret_value()
        if kafka.security_protocol.endswith("SSL") and kafka.ca_file is not None:
            config["ssl.ca.location"] = kafka.ca_file
        return config
