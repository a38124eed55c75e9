"""What a MailTopic asks for, with the operator's defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Self

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from mailtopic_contract import ContractError, TopicNames, parse_tier
from mailtopic_operator.domain.defaults import KafkaAccess, OperatorDefaults, SecretKey
from mailtopic_operator.domain.user_names import password_key, secret_name, user_name
from mailtopic_operator.model.mailtopic import DRY_RUN, KAFKA_USER, MANAGED, MailTopic
from mailtopic_operator.model.mailtopic_spec import MailTopicSpec
from mailtopic_operator.model.mailtopic_status import MailTopicStatus


@dataclass(frozen=True, slots=True)
class Meta:
    """The metadata of a resource that decisions depend on."""

    namespace: str
    name: str
    uid: str
    generation: int
    created_at: datetime
    deleting_since: datetime | None = None
    finalizers: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Return the metadata of an object from the API server."""
        meta = body["metadata"]
        deleting = meta.get("deletionTimestamp")
        return cls(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta["uid"],
            generation=meta.get("generation", 0),
            created_at=datetime.fromisoformat(meta["creationTimestamp"]),
            deleting_since=datetime.fromisoformat(deleting) if deleting else None,
            finalizers=tuple(meta.get("finalizers", ())),
            annotations=dict(meta.get("annotations") or {}),
        )


@dataclass(frozen=True, slots=True)
class Desired:
    """What a MailTopic asks for.

    Attributes:
        status: what was last reported; transitions are derived from it.
    """

    meta: Meta
    spec: MailTopicSpec
    status: MailTopicStatus
    defaults: OperatorDefaults

    @classmethod
    def parse(cls, body: Mapping[str, Any], defaults: OperatorDefaults) -> Self:
        """Return what a MailTopic from the API server asks for.

        Raises:
            pydantic.ValidationError: an API server with our CRD would have refused it; see
                `planning.plan_invalid`.
        """
        resource = MailTopic.parse(body)
        made = cls(Meta.parse(body), resource.spec, resource.status, defaults)
        try:
            _ = made.names
        except ContractError as error:
            problem = InitErrorDetails(
                type=PydanticCustomError("topics", str(error)), loc=("spec", "topic"), input=None
            )
            raise ValidationError.from_exception_data("MailTopic", [problem]) from None
        return made

    @property
    def names(self) -> TopicNames:
        """The topics by their names in Kafka."""
        return _topic_names(self.spec.topic.name or self.meta.name, self.spec.delivery.retry_tiers)

    @property
    def former_topics(self) -> tuple[str, ...]:
        """Topics of retry tiers that were removed from the spec; they are left unchanged."""
        current = set(self.names.all)
        return tuple(t.name for t in self.status.topics if t.name not in current)

    @property
    def held_topics(self) -> frozenset[str]:
        """Topics with an id in the status: they have belonged to this MailTopic."""
        return frozenset(topic.name for topic in self.status.topics if topic.id)

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic to describe: the current ones, then the former ones."""
        return (*self.names.all, *self.former_topics)

    @property
    def consumer_groups(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The senders' consumer groups, each with the topics it reads: for the lag."""
        names = self.names
        return ((names.main, (names.main,)), (f"{names.main}.retry", names.retries))

    @property
    def kafka_user(self) -> str | None:
        """The user in Kafka that is managed for this MailTopic; None if none is."""
        users, meta = self.defaults.kafka_users, self.meta
        if users is None:
            return None
        rotation = meta.annotations.get(KAFKA_USER, "")
        return user_name(users.prefix, meta.namespace, meta.name, meta.uid, rotation)

    @property
    def kafka_users(self) -> frozenset[str]:
        """Users in Kafka to describe: the current one, and former ones."""
        user = self.kafka_user
        former = {each.name for each in self.status.kafka_users}
        return frozenset() if user is None else frozenset({user, *former})

    @property
    def kafka(self) -> KafkaAccess:
        """How the senders reach Kafka."""
        access, user = self.defaults.kafka, self.kafka_user
        if user is None:
            return access
        password = SecretKey(secret_name(self.meta.name), password_key(user))
        return replace(access, username=user, password=password)

    @property
    def is_managed(self) -> bool:
        """Whether anything may be changed for this MailTopic."""
        return self.meta.annotations.get(MANAGED, "true").lower() != "false"

    @property
    def is_dry_run(self) -> bool:
        """Whether only a plan is wanted."""
        return self.meta.annotations.get(DRY_RUN, "false").lower() == "true"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the Secrets in this namespace that the senders need; sorted."""
        kafka = self.kafka
        named = {key.name for key in (kafka.password, kafka.ca) if key is not None}
        for relay in self.spec.relays:
            refs = (relay.credentials_secret_ref, relay.ca_secret_ref)
            named |= {ref.name for ref in refs if ref is not None}
            if relay.oauth is not None:
                named |= {ref.name for ref in relay.oauth.secret_refs.values()}
                authority = relay.oauth.ca_secret_ref
                named |= set() if authority is None else {authority.name}
        if self.spec.sealing is not None:
            named.add(self.spec.sealing.keys_secret_ref.name)
        if self.spec.dkim is not None:
            named.add(self.spec.dkim.keys_secret_ref.name)
        return tuple(sorted(named))

    @property
    def config_maps(self) -> tuple[str, ...]:
        """Names of the ConfigMaps in this namespace that the senders need."""
        ref = self.spec.template.config_map_ref
        return () if ref is None else (ref.name,)


@lru_cache(maxsize=4096)
def _topic_names(main: str, tiers: tuple[str, ...]) -> TopicNames:
    # Called dozens of times in each plan.
    return TopicNames(main, tuple(parse_tier(tier) for tier in tiers))
