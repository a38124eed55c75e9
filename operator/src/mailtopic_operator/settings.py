"""The operator's settings."""

import re
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from mailtopic_operator.domain.defaults import (
    Border,
    KafkaAccess,
    KafkaUsers,
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
    """Bootstrap servers, as host:port,host:port."""

    security_protocol: _Protocol = "PLAINTEXT"
    """The protocol: whether connections are encrypted, and whether they log in."""

    sasl_mechanism: _Mechanism = "SCRAM-SHA-512"
    """The SASL mechanism, if the protocol is SASL_…"""

    username: str | None = None
    """The user name to log in with."""

    password: SecretStr | None = None
    """The password to log in with."""

    ca_file: str | None = None
    """PEM file with the CA certificates for the brokers; unset: the system's."""

    request_timeout_s: float = Field(default=10.0, gt=0, le=120)
    """Seconds that one request to the admin API may take before Kafka counts as unreachable."""

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

    Secrets are named, never read: each must be in the MailTopic's own namespace.
    """

    bootstrap_servers: tuple[str, ...] = ()
    """Bootstrap servers; unset: the operator's own."""

    security_protocol: _Protocol | None = None
    """The protocol: whether connections are encrypted and log in; unset: the operator's own."""

    sasl_mechanism: _Mechanism | None = None
    """The SASL mechanism; unset: the operator's own."""

    username: str | None = None
    """The user name to log in with, if the protocol is SASL_…"""

    password_secret: str | None = None
    """Name of the Secret with that user's password."""

    password_key: str = "password"  # noqa: S105 - a key's name
    """The password's key in that Secret."""

    ca_secret: str | None = None
    """Name of the Secret with the CA certificates for the brokers."""

    ca_key: str = "ca.crt"
    """The CA certificates' key in that Secret."""

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_servers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        return _servers(servers)


class KafkaUsersSettings(SettingsGroup):
    """Users and ACLs of Kafka; below MAILTOPIC_OPERATOR__KAFKA_USERS__."""

    enabled: bool = False
    """Whether each MailTopic's senders get a user and ACLs of their own. The operator's user needs
    Alter and Describe on the cluster, with which it could change any user: your consent.
    """

    prefix: str = Field(default="mailtopic.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,31}$")
    """What the names of these users begin with; no other user is touched. Operators that share a
    Kafka have different ones, none of which begins with another.
    """


class SenderTracingSettings(SettingsGroup):
    """Where senders' spans go; below MAILTOPIC_OPERATOR__SENDER__TRACING__."""

    endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s/@]+(/[^\s@]*)?$")
    """The collector's OTLP/HTTP address, reachable from senders. Unset: no tracing."""

    sample_ratio: float = Field(default=0.1, ge=0, le=1)
    """The share of traces begun by senders that is recorded."""


class SenderSettings(SettingsGroup):
    """How senders are started; below MAILTOPIC_OPERATOR__SENDER__."""

    image: str = "mailtopic/sender:0.1.0"
    """Image of the senders."""

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When to pull that image."""

    image_pull_secrets: tuple[str, ...] = ()
    """Names of the Secrets for the image's registry."""

    resources: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Requests and limits of a sender if its MailTopic sets none, as JSON."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that senders log."""

    pod_template_fields: tuple[str, ...] = ()
    """Fields that a podTemplate may set besides labels, annotations, resources, scheduling and
    security contexts that grant no more rights, such as spec.volumes; * for all fields.
    """

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
    """Which topics may be managed; below MAILTOPIC_OPERATOR__TOPICS__."""

    prefixes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Prefixes of topic names by namespace, as JSON: {"shop": ["shop-"]}. "*" means all other
    namespaces, {namespace} the namespace's name, the prefix * any name. Existing topics are only
    adopted in a namespace with an entry. Without one, topics may be created: with any name if one
    namespace is watched, else named after their namespace.
    """

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
    """How MailReplays are run; below MAILTOPIC_OPERATOR__REPLAY__."""

    image: str = "mailtopic/cli:0.1.0"
    """Image with the command `mailtopic`; pulled like the senders' image."""


class DeletionSettings(SettingsGroup):
    """Deletion of MailTopics with deletionPolicy Delete; below MAILTOPIC_OPERATOR__DELETION__."""

    drain_timeout_s: float = Field(default=300.0, ge=0, le=86_400)
    """Seconds that senders continue at most, so that waiting mails are still delivered."""

    give_up_s: float = Field(default=300.0, ge=0, le=86_400)
    """Seconds after that in which deleting the topics is tried; then they stay."""


class ReconcileSettings(SettingsGroup):
    """How often, and how much at once; below MAILTOPIC_OPERATOR__RECONCILE__."""

    resync_s: float = Field(default=120.0, ge=0.5, le=3600)
    """Seconds between two checks of everything, even without events."""

    sample_s: float = Field(default=30.0, ge=0.2, le=3600)
    """Seconds between two measurements of the lag and the DLQs."""

    batch_size: int = Field(default=100, ge=1, le=500)
    """Resources that are reconciled together, with shared requests for their topics."""

    linger_s: float = Field(default=0.1, ge=0, le=10)
    """Seconds that a batch waits for more resources."""

    api_concurrency: int = Field(default=8, ge=1, le=64)
    """Concurrent requests to the Kubernetes API."""

    def limits(self) -> Limits:
        """Return them as the engine's Limits."""
        return Limits(**self.model_dump())


class LeaseSettings(SettingsGroup):
    """Which of several replicas acts; below MAILTOPIC_OPERATOR__LEASE__."""

    name: str = "mailtopic-operator"
    """Name of the Lease that all replicas share."""

    namespace: str = "default"
    """Namespace of that Lease; in a pod, the pod's own."""

    identity: str | None = None
    """This replica's identity; unset: the host's name and a random part."""

    duration_s: float = Field(default=15.0, ge=1, le=300)
    """Seconds after which another replica may replace a silent one."""

    renew_s: float = Field(default=2.0, ge=0.1, le=60)
    """Seconds between two renewals, and between two polls by a waiting replica."""

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
    """Namespaces to reconcile MailTopics in; unset: all of the cluster's."""

    watch_stale_s: float = Field(default=180.0, ge=10, le=3600)
    """Seconds without an event or bookmark after which a watch, and this replica, count as dead."""

    topics: TopicSettings = Field(default_factory=TopicSettings)
    secrets: SecretsSettings = Field(default_factory=SecretsSettings)
    sender: SenderSettings = Field(default_factory=SenderSettings)
    replay: ReplaySettings = Field(default_factory=ReplaySettings)
    kafka_users: KafkaUsersSettings = Field(default_factory=KafkaUsersSettings)
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
        mechanism = kafka.sasl_mechanism or self.kafka.sasl_mechanism
        if self.operator.kafka_users.enabled:
            if not (protocol.startswith("SASL") and mechanism.startswith("SCRAM")):
                raise ValueError(
                    "MAILTOPIC_OPERATOR__KAFKA_USERS__ENABLED: senders must log in by SCRAM"
                    " (…__SENDER__KAFKA__SECURITY_PROTOCOL, …__SASL_MECHANISM)"
                )
            return self
        if protocol.startswith("SASL") and not (kafka.username and kafka.password_secret):
            raise ValueError(
                "MAILTOPIC_OPERATOR__SENDER__KAFKA__USERNAME and …__PASSWORD_SECRET are required"
                " where senders log in by SASL"
            )
        return self

    def defaults(self) -> OperatorDefaults:
        """Return the defaults for all MailTopics."""
        own, sender, deletion = self.kafka, self.operator.sender, self.operator.deletion
        kafka = sender.kafka
        password, users = kafka.password_secret, self.operator.kafka_users
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
            kafka_users=KafkaUsers(users.prefix) if users.enabled else None,
            drain_timeout_s=deletion.drain_timeout_s,
            give_up_s=deletion.give_up_s,
            resync_s=self.operator.reconcile.resync_s,
        )

    def client_config(self) -> dict[str, Any]:
        """Return the operator's own connection as librdkafka's properties."""
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
