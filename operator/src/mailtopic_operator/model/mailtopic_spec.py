"""What a user writes into a MailTopic."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from mailtopic_operator.model.base import Duration, Model, checked, rule
from mailtopic_operator.model.references import ConfigMapRef, KeysRef
from mailtopic_operator.model.relays import Relay
from mailtopic_operator.model.replies import Replies
from mailtopic_operator.model.signing import Dkim
from mailtopic_operator.model.topic_rules import SPEC_RULES, TIER_RULES, TOPIC_RULES

DEFAULT_LOCALE = "^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$"


def _bounded(low: int, high: int, message: str) -> Any:
    limits = checked(rule(f"self >= {low} && self <= {high}", message))
    return Field(ge=low, le=high, json_schema_extra=limits)


class Provider(StrEnum):
    """What decides how many senders run."""

    NONE = "None"
    KEDA = "KEDA"


class OnUnknown(StrEnum):
    """What happens to a mail if its final reply was lost."""

    RESEND = "Resend"
    HOLD = "Hold"


class DeletionPolicy(StrEnum):
    """What happens to the topics when the MailTopic is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


def _is_no_internal_topic(name: str) -> str:
    # The CRD refuses it as well; an older one didn't, and such a MailTopic must change nothing.
    if name.startswith("__"):
        raise ValueError("topics with '__' in front are Kafka's own")
    return name


TopicName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        json_schema_extra=checked(
            rule(
                r"self.matches('^[A-Za-z0-9._-]+$') && self != '.' && self != '..'",
                "write a topic's name: letters, digits, dots, underscores and dashes",
            ),
            rule(
                r"!self.matches('([.]retry[.][1-9][0-9]*[smh]|[.]dlq|[.]status)$')",
                "write the main topic's name: its retry topics, .dlq and .status are made from it",
            ),
            rule(
                "!self.startsWith('__')",
                "write a name without '__' in front: such topics are Kafka's own",
            ),
        ),
    ),
    AfterValidator(_is_no_internal_topic),
]


class Topic(Model):
    """The Kafka topic that services publish mails to, and those named after it."""

    model_config = ConfigDict(json_schema_extra=checked(*TOPIC_RULES))

    name: TopicName | None = None
    """The main topic's name in Kafka. Unset: the MailTopic's name. Can't be changed."""

    partitions: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            json_schema_extra=checked(
                rule("self >= 1 && self <= 1000", "write 1 to 1000 partitions; 6 is usual"),
                rule(
                    "self >= oldSelf",
                    "Kafka can't take partitions away: write at least as many as before, or"
                    " make another MailTopic and move the publishers",
                ),
            ),
        ),
    ] = 6
    """Partitions of every topic, which is also the most senders that can share the work. It can
    grow, never shrink; while it grows, one recipient's mails may change their order once.
    """

    replication_factor: Annotated[
        int | None, _bounded(1, 15, "write 1 to 15 copies; 3 is usual in production")
    ] = None
    """Copies of every partition. Unset: the brokers' default. Can't be changed."""

    adopt: bool = False
    """Take over existing topics with these names: their configuration is changed as specified, and
    they are never deleted. The operator must allow the name for this namespace.
    """

    retention: Duration = "168h"
    """How long records are kept, read or not. Not less than delivery.maxAge."""

    config: Annotated[dict[str, str], Field(max_length=32)] = Field(default_factory=dict)
    """Further configuration of the topics, by Kafka's names, values as text. Anything else that is
    set on a topic is removed, except what unmanagedConfig names.
    """

    unmanaged_config: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=128)], ...],
        Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = ()
    """Names of configuration that is left unchanged, for other tools to set."""


class From(Model):
    """The sender of the mails."""

    name: Annotated[str | None, Field(max_length=128)] = None
    """The display name. Unset: the address alone."""

    address: Annotated[
        str,
        Field(
            min_length=3,
            max_length=254,
            json_schema_extra=checked(
                rule(
                    r"self.matches('^[!-?A-~]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$')",
                    "write an address alone, such as noreply@example.net; the name that readers see"
                    " goes into from.name",
                )
            ),
        ),
    ]
    """The sender address of the mails; ASCII, because not every relay accepts others."""


class Template(Model):
    """The texts of the mails."""

    config_map_ref: ConfigMapRef | None = None
    """The ConfigMap with your own templates, besides the built-in ones. A change rolls the senders.
    """

    default_locale: Annotated[
        str,
        Field(
            max_length=44,
            json_schema_extra=checked(
                rule(f"self.matches('{DEFAULT_LOCALE}')", "write a language tag, such as pt-BR")
            ),
        ),
    ] = "ru"
    """The language for mails without a template in their own."""


RetryTiers = Annotated[
    tuple[Duration, ...],
    Field(min_length=1, max_length=8, json_schema_extra=checked(*TIER_RULES)),
]


class Delivery(Model):
    """What happens to mails."""

    max_age: Annotated[
        Duration,
        Field(
            json_schema_extra=checked(
                rule(
                    "self.matches('^[1-9][0-9]{0,5}(s|m|h)$')",
                    "write a duration as a whole number and s, m or h, such as 10m or 1h",
                ),
                rule(
                    "!self.matches('^[1-9][0-9]{0,5}(s|m|h)$')"
                    " || duration(self) <= duration('24h')",
                    "write at most 24h: a code or a notice that is older helps nobody",
                ),
            ),
        ),
    ] = "1h"
    """The age at which a mail without its own expiry is not sent any more."""

    retry_tiers: RetryTiers = ("10s", "1m", "5m")
    """Delays between attempts, growing; each has its own topic. Records in the topic of a removed
    tier are not read any more: remove a tier when its topic is empty.
    """

    on_unknown: OnUnknown = OnUnknown.RESEND
    """What happens to a mail if its final reply was lost: Resend it, byte-identical, at the risk of
    a second copy, or Hold it for a person to decide.
    """

    max_in_flight: Annotated[
        int, _bounded(1, 10_000, "write 1 to 10000 mails; the default is 400")
    ] = 400
    """Mails that one sender delivers at once; it bounds how many a restart repeats."""


class Autoscaling(Model):
    """How the number of senders follows the load."""

    provider: Provider = Provider.NONE
    """None: consumers.replicas senders run. KEDA: a ScaledObject decides; KEDA must be installed in
    the cluster.
    """

    min_replicas: Annotated[int, _bounded(0, 1000, "write 0 to 1000; the default is 1")] = 1
    """Senders that run even if there is nothing to do. With 0, the first mail after an idle time
    waits for a sender to start.
    """

    max_replicas: Annotated[
        int | None, _bounded(1, 1000, "write 1 to 1000, at most topic.partitions, or leave it out")
    ] = None
    """The most senders that run. Unset: one for each partition, or fewer if the relays' rate
    limits, set or learned, make more of them useless.
    """

    target_lag_seconds: Annotated[
        int, _bounded(1, 3600, "write 1 to 3600 seconds; the default is 10")
    ] = 10
    """Senders are added while the waiting mails would take longer than this, in seconds."""

    mails_per_second_per_sender: Annotated[
        int, _bounded(1, 10_000, "write 1 to 10000 mails a second; the default is 50")
    ] = 50
    """The assumed rate of one sender: it converts waiting mails into seconds, and the relays' rate
    limits, set or learned, into a useful number of senders.
    """


class Consumers(Model):
    """The senders: the pods that deliver."""

    replicas: Annotated[
        int, _bounded(0, 1000, "write 0 to 1000 senders; more than topic.partitions only stand by")
    ] = 2
    """Senders that run; `kubectl scale` sets it, too. Not used with an autoscaler."""

    autoscaling: Autoscaling = Field(default_factory=Autoscaling)
    """How the number of senders follows the load."""

    resources: dict[str, Any] | None = None
    """Requests and limits of a sender, as in a container. Unset: the operator's default."""

    pod_template: dict[str, Any] | None = None
    """Additions to the senders' pods: metadata and spec as in a Deployment's template, merged into
    the operator's by name. The container is called sender. Allowed are labels, annotations,
    resources, scheduling and security contexts that grant no more rights; other fields only if the
    operator allows them.
    """


class DeadLetter(Model):
    """Mails that no attempt can deliver."""

    retention: Duration = "336h"
    """How long dead letters stay in the DLQ, and at least how long outcomes in the status topic."""


FormerTopic = Annotated[str, Field(min_length=1, max_length=200, pattern="^[A-Za-z0-9._-]+$")]


class Sealing(Model):
    """How sealed codes are opened."""

    keys_secret_ref: KeysRef
    """The Secret with the keys that publishers seal with."""

    accept_version1: bool = True
    """Whether mails sealed in version 1 are sent; else they go to the DLQ. Set it to false once all
    publishers seal in version 2 and the topic's retention has passed.
    """

    former_topics: Annotated[tuple[FormerTopic, ...], Field(max_length=16)] = ()
    """Topics whose mails were moved to this one: mails sealed for them are sent as well."""


class MailTopicSpec(Model):
    """The desired state of the stream of mails."""

    model_config = ConfigDict(json_schema_extra=checked(*SPEC_RULES))

    topic: Topic = Field(default_factory=Topic)
    """The Kafka topic that services publish mails to. Its retry topics, DLQ and status topic are
    named after it, have as many partitions and are managed in the same way.
    """

    from_: Annotated[From, Field(alias="from")]
    """The sender of the mails."""

    relays: Annotated[
        tuple[Relay, ...],
        Field(
            min_length=1,
            max_length=8,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ]
    """The SMTP servers that take the mails, in order of preference: a mail goes to the first one
    that can take it soon.
    """

    template: Template = Field(default_factory=Template)
    """The texts of the mails."""

    delivery: Delivery = Field(default_factory=Delivery)
    """How mails are delivered: how long they are valid, when they are tried again."""

    consumers: Consumers = Field(default_factory=Consumers)
    """The senders: how many, with which resources, with which additions."""

    dead_letter: DeadLetter = Field(default_factory=DeadLetter)
    """Mails that no attempt can deliver: they wait in the DLQ for a person."""

    replies: Replies = Field(default_factory=Replies)
    """The meaning of relays' replies that the senders' own table doesn't cover."""

    sealing: Sealing | None = None
    """How sealed codes are opened. Unset: sealed mails go to the DLQ."""

    dkim: Dkim | None = None
    """How mails are signed by DKIM. Unset: signing is left to the relays."""

    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    """What happens to the topics when the MailTopic is deleted. Retain: they stay. Delete: senders
    continue until every mail is delivered or a timeout has passed, then the topics are deleted with
    everything in them.
    """

    paused: bool = False
    """Send nothing for now: senders are scaled to zero, topics keep new mails. Everything else
    stays as specified.
    """
