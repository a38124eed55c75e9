"""What one MailTopic's user tries against another MailTopic on the same Kafka."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

_TIMEOUT_S = 30.0
_NOT_SHOWN = "not shown"
_UNKNOWN = "_NOENT"
"""The client library finds no such topic in what the brokers show."""
_QUIET: Final[dict[str, Any]] = {"log_level": 0, "error_cb": lambda _: None}


@dataclass(frozen=True, slots=True)
class Tenants:
    """The one that tries, and the other.

    Attributes:
        login: of the one, as librdkafka's properties.
        topic: the one's main topic.
        other: the other's main topic.
        other_user: the other's user in Kafka.
    """

    login: Mapping[str, Any]
    topic: str
    other: str
    other_user: str

    @property
    def user(self) -> str:
        return str(self.login["sasl.username"])


@dataclass(frozen=True, slots=True)
class Attempt:
    """One thing to try.

    Attributes:
        kind: what it is about.
        what: in words; V is the other's main topic.
        words: Kafka's name of the error, or that it isn't shown.
    """

    kind: str
    what: str
    words: str
    run: Callable[[Tenants], str]


def _code(error: object) -> str:
    cause = error.args[0] if isinstance(error, KafkaException) else error
    return cause.name() if isinstance(cause, KafkaError) else repr(error)


def _asked(request: Callable[[AdminClient, Tenants], Any]) -> Callable[[Tenants], str]:
    """Return an attempt by the admin API."""

    def run(tenants: Tenants) -> str:
        client = AdminClient({**tenants.login, **_QUIET})
        try:
            answers = request(client, tenants)
            futures = answers.values() if isinstance(answers, dict) else [answers]
            for future in futures:
                future.result(_TIMEOUT_S)
        except KafkaException as error:
            return _code(error)
        return "done"

    return run


def _read(rest: str) -> Callable[[Tenants], str]:
    def run(tenants: Tenants) -> str:
        topic = tenants.other + rest
        with _consumer(tenants, tenants.topic) as consumer:
            # Without leave to describe it, no client gets as far as a fetch; it waits, silently.
            error = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].error
            if error is not None:
                return _code(error)
            consumer.assign([TopicPartition(topic, 0, 0)])
            return _first_error(consumer)

    return run


def _join(rest: str) -> Callable[[Tenants], str]:
    def run(tenants: Tenants) -> str:
        with _consumer(tenants, tenants.other + rest) as consumer:
            consumer.subscribe([tenants.topic])
            return _first_error(consumer)

    return run


@contextmanager
def _consumer(tenants: Tenants, group: str) -> Iterator[Consumer]:
    consumer = Consumer({**tenants.login, **_QUIET, "group.id": group})
    try:
        yield consumer
    finally:
        consumer.close()


def _first_error(consumer: Consumer) -> str:
    deadline_s = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline_s:
        message = consumer.poll(0.5)
        if message is not None:
            error = message.error()
            return "done" if error is None else _code(error)
    return "nothing came"


def _write(rest: str) -> Callable[[Tenants], str]:
    def run(tenants: Tenants) -> str:
        return _written(Producer({**tenants.login, **_QUIET}), tenants.other + rest)

    return run


def _written(producer: Producer, topic: str) -> str:
    answers: list[str] = []
    producer.produce(
        topic,
        b"forged",
        on_delivery=lambda error, _: answers.append("done" if error is None else _code(error)),
    )
    producer.flush(_TIMEOUT_S)
    return answers[0] if answers else "nothing came"


def _transaction(name: Callable[[Tenants], str]) -> Callable[[Tenants], str]:
    def run(tenants: Tenants) -> str:
        producer = Producer({**tenants.login, **_QUIET, "transactional.id": name(tenants)})
        try:
            producer.init_transactions(_TIMEOUT_S)
            producer.begin_transaction()
        except KafkaException as error:
            return _code(error)
        return _written(producer, tenants.other)

    return run


def _replay_of(topic: str) -> str:
    return f"mailtopic-dlq-replay-{topic}"


def _listed_topics(tenants: Tenants) -> str:
    found = AdminClient({**tenants.login, **_QUIET}).list_topics(timeout=_TIMEOUT_S).topics
    assert tenants.topic in found
    return _NOT_SHOWN if not any(name.startswith(tenants.other) for name in found) else "done"


def _listed_groups(tenants: Tenants) -> str:
    client = AdminClient({**tenants.login, **_QUIET})
    found = client.list_consumer_groups().result(_TIMEOUT_S)
    names = {group.group_id for group in found.valid}
    return _NOT_SHOWN if not any(name.startswith(tenants.other) for name in names) else "done"


def _listed_acls(tenants: Tenants) -> str:
    # The client library turns the brokers' refusal into an empty list.
    wanted = _acl(AclBindingFilter, tenants.other_user, ResourceType.TOPIC, tenants.other, "READ")
    client = AdminClient({**tenants.login, **_QUIET})
    found = client.describe_acls(wanted).result(_TIMEOUT_S)
    return "done" if found else _NOT_SHOWN


def _logged_in(tenants: Tenants) -> str:
    login: dict[str, Any] = {**tenants.login, **_QUIET, "sasl.username": tenants.other_user}
    seen: list[str] = []
    login["error_cb"] = lambda error: seen.append(error.name())
    client = AdminClient(login)
    try:
        client.list_topics(timeout=5)
    except KafkaException as error:
        client.poll(1)  # calls back
        refused = [name for name in seen if "AUTH" in name]
        return refused[0] if refused else _code(error)
    return "done"


def _acl(made: Any, user: str, resource: ResourceType, name: str, operation: str) -> Any:
    return made(
        resource,
        name,
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation[operation],
        AclPermissionType.ALLOW,
    )


def _password(user: str) -> UserScramCredentialUpsertion:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192)
    return UserScramCredentialUpsertion(user, info, b"taken over")


def _set(kind: ResourceType, name: str, key: str, value: str) -> list[ConfigResource]:
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    return [ConfigResource(kind, name, incremental_configs=[entry])]


def _own_acl(t: Tenants, operation: str) -> Any:
    return _acl(AclBinding, t.user, ResourceType.TOPIC, t.other, operation)


def _offsets(t: Tenants, group: str, *, offset: int | None = None) -> Any:
    place = TopicPartition(t.topic, 0) if offset is None else TopicPartition(t.topic, 0, offset)
    return [ConsumerGroupTopicPartitions(group, [place])]


TOPIC, GROUP, CLUSTER, TRANSACTION = (
    f"{each}_AUTHORIZATION_FAILED" for each in ("TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID")
)

ATTEMPTS: tuple[Attempt, ...] = (
    Attempt("Topics", "read V", TOPIC, _read("")),
    Attempt("Topics", "read V.retry.10s", TOPIC, _read(".retry.10s")),
    Attempt("Topics", "read V.dlq", TOPIC, _read(".dlq")),
    Attempt("Topics", "read V.status", TOPIC, _read(".status")),
    Attempt("Topics", "write to V", TOPIC, _write("")),
    Attempt("Topics", "write to V.retry.10s", TOPIC, _write(".retry.10s")),
    Attempt("Topics", "write to V.dlq", TOPIC, _write(".dlq")),
    Attempt("Topics", "write an outcome to V.status", TOPIC, _write(".status")),
    Attempt("Topics", "delete V", TOPIC, _asked(lambda c, t: c.delete_topics([t.other]))),
    Attempt(
        "Topics",
        "delete V.status",
        TOPIC,
        _asked(lambda c, t: c.delete_topics([f"{t.other}.status"])),
    ),
    Attempt(
        "Topics",
        "delete the records of V",
        _UNKNOWN,
        _asked(lambda c, t: c.delete_records([TopicPartition(t.other, 0, 0)])),
    ),
    Attempt(
        "Topics",
        "give V more partitions",
        TOPIC,
        _asked(lambda c, t: c.create_partitions([NewPartitions(t.other, 9)])),
    ),
    Attempt(
        "Topics",
        "read the configuration of V",
        TOPIC,
        _asked(lambda c, t: c.describe_configs([ConfigResource(ResourceType.TOPIC, t.other)])),
    ),
    Attempt(
        "Topics",
        "shorten the retention of V",
        TOPIC,
        _asked(
            lambda c, t: c.incremental_alter_configs(
                _set(ResourceType.TOPIC, t.other, "retention.ms", "1000")
            )
        ),
    ),
    Attempt(
        "Topics",
        "describe V",
        TOPIC,
        _asked(lambda c, t: c.describe_topics(TopicCollection([t.other]))),
    ),
    Attempt(
        "Topics",
        "look up offsets of V",
        _UNKNOWN,
        _asked(lambda c, t: c.list_offsets({TopicPartition(t.other, 0): OffsetSpec.latest()})),
    ),
    Attempt("Topics", "list topics: V and its satellites", _NOT_SHOWN, _listed_topics),
    Attempt(
        "Names",
        "create V.retry.9m",
        TOPIC,
        _asked(lambda c, t: c.create_topics([NewTopic(f"{t.other}.retry.9m", 1)])),
    ),
    Attempt(
        "Names",
        "create a topic with a name of one's own",
        TOPIC,
        _asked(lambda c, t: c.create_topics([NewTopic(f"{t.topic}.more", 1)])),
    ),
    Attempt("Groups", "join the senders' group V", GROUP, _join("")),
    Attempt("Groups", "join the senders' group V.retry", GROUP, _join(".retry")),
    Attempt("Groups", "join the signup service's group V.signup", GROUP, _join(".signup")),
    Attempt(
        "Groups",
        "move the offsets of group V",
        GROUP,
        _asked(lambda c, t: c.alter_consumer_group_offsets(_offsets(t, t.other, offset=0))),
    ),
    Attempt(
        "Groups",
        "read the offsets of group V",
        GROUP,
        _asked(lambda c, t: c.list_consumer_group_offsets(_offsets(t, t.other))),
    ),
    Attempt(
        "Groups",
        "describe group V",
        GROUP,
        _asked(lambda c, t: c.describe_consumer_groups([t.other])),
    ),
    Attempt(
        "Groups",
        "delete group V",
        GROUP,
        _asked(lambda c, t: c.delete_consumer_groups([t.other])),
    ),
    Attempt("Groups", "list groups: V and V.retry", _NOT_SHOWN, _listed_groups),
    Attempt(
        "Transactions",
        "fence the replay of V by its transactional id",
        TRANSACTION,
        _transaction(lambda t: _replay_of(t.other)),
    ),
    Attempt(
        "Transactions",
        "begin a transaction with an id of one's own",
        TRANSACTION,
        _transaction(lambda t: f"{t.topic}-1"),
    ),
    Attempt(
        "Transactions",
        "write to V in a transaction of one's own replay",
        TOPIC,
        _transaction(lambda t: _replay_of(t.topic)),
    ),
    Attempt(
        "ACLs",
        "list the ACLs of V",
        _NOT_SHOWN,
        _listed_acls,
    ),
    Attempt(
        "ACLs",
        "allow oneself to read V",
        CLUSTER,
        _asked(lambda c, t: c.create_acls([_own_acl(t, "READ")])),
    ),
    Attempt(
        "ACLs",
        "allow all users to read one's own topic",
        CLUSTER,
        _asked(
            lambda c, t: c.create_acls([_acl(AclBinding, "*", ResourceType.TOPIC, t.topic, "READ")])
        ),
    ),
    Attempt(
        "ACLs",
        "allow oneself to change users",
        CLUSTER,
        _asked(
            lambda c, t: c.create_acls(
                [_acl(AclBinding, t.user, ResourceType.BROKER, "kafka-cluster", "ALTER")]
            )
        ),
    ),
    Attempt(
        "ACLs",
        "take the other's right to read V away",
        CLUSTER,
        _asked(
            lambda c, t: c.delete_acls(
                [_acl(AclBindingFilter, t.other_user, ResourceType.TOPIC, t.other, "READ")]
            )
        ),
    ),
    Attempt(
        "Users",
        "change the other's password",
        CLUSTER,
        _asked(lambda c, t: c.alter_user_scram_credentials([_password(t.other_user)])),
    ),
    Attempt(
        "Users",
        "change one's own password",
        CLUSTER,
        _asked(lambda c, t: c.alter_user_scram_credentials([_password(t.user)])),
    ),
    Attempt(
        "Users",
        "create a user",
        CLUSTER,
        _asked(lambda c, _: c.alter_user_scram_credentials([_password("another")])),
    ),
    Attempt(
        "Users",
        "delete the other's user",
        CLUSTER,
        _asked(
            lambda c, t: c.alter_user_scram_credentials(
                [UserScramCredentialDeletion(t.other_user, ScramMechanism.SCRAM_SHA_512)]
            )
        ),
    ),
    Attempt("Users", "log in as the other with one's own password", "_AUTHENTICATION", _logged_in),
    Attempt(
        "Quotas",
        "throttle a broker",
        CLUSTER,
        _asked(
            lambda c, _: c.incremental_alter_configs(
                _set(ResourceType.BROKER, "1", "leader.replication.throttled.rate", "1")
            )
        ),
    ),
    Attempt(
        "Quotas",
        "read a broker's configuration",
        CLUSTER,
        _asked(lambda c, _: c.describe_configs([ConfigResource(ResourceType.BROKER, "1")])),
    ),
)
