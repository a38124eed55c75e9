"""Users and ACLs of MailTopics on a secured Kafka: created, kept, rotated and removed."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from mailtopic_client import KafkaClient, KafkaSettings
from mailtopic_operator.adapters.kafka_client import KafkaClient as Admin
from mailtopic_operator.adapters.kafka_users import ConfluentUsers
from mailtopic_operator.domain.kafka import Acl, ProblemKind, UserState
from mailtopic_operator.domain.user_names import is_user_of, password_key
from mailtopic_operator.metrics import OperatorMetrics
from support.api_server import ApiServer
from support.brokers import started
from support.conditions import until
from support.operators import Operators, operators
from support.scram_kafka import OPERATOR, Administrator, ScramNode, with_operator

TOPIC = ("READ", "WRITE", "DESCRIBE_CONFIGS")


@pytest.fixture(scope="module")
def scram_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScramNode]:
    """A secured broker that the tests of this file share."""
    yield from started(ScramNode(tmp_path_factory.mktemp("scram")), "integration")


@pytest.fixture
async def administrator(scram_kafka: ScramNode) -> Administrator:
    return await with_operator(scram_kafka)


@pytest.fixture
async def secured(
    tmp_path: Path, api_server: ApiServer, scram_kafka: ScramNode, administrator: Administrator
) -> AsyncIterator[Operators]:
    """Operators of one namespace that manage users of the secured broker."""
    del administrator
    async with operators(tmp_path, api_server, scram_kafka.sasl_servers) as found:
        found.settings = {
            **scram_kafka.operator_settings,
            "MAILTOPIC_OPERATOR__TOPICS__PREFIXES": '{"*": ["*"]}',
        }
        yield found


async def ready(secured: Operators, name: str) -> str:
    """Create a MailTopic; return its user in Kafka."""
    secured.create(name)
    await secured.is_ready(name)
    return user_of(secured, name)


def user_of(secured: Operators, name: str) -> str:
    (only,) = secured.status(name)["kafkaUsers"]
    user: str = only["name"]
    assert is_user_of(user, "mailtopic.", secured.namespace, name)
    return user


def password_of(secured: Operators, name: str, user: str) -> str:
    data = secured.get(f"secrets/{name}-kafka")["data"]
    return base64.b64decode(data[password_key(user)]).decode()


def wanted_rules(topic: str) -> set[tuple[str, str, str, str]]:
    names = [topic, *(f"{topic}{rest}" for rest in RESTS)]
    return {
        *(("TOPIC", "LITERAL", name, operation) for name in names for operation in TOPIC),
        ("GROUP", "LITERAL", topic, "READ"),
        ("GROUP", "LITERAL", f"{topic}.retry", "READ"),
        ("TRANSACTIONAL_ID", "LITERAL", f"mailtopic-dlq-replay-{topic}", "WRITE"),
    }


RESTS = (".retry.10s", ".retry.1m", ".retry.5m", ".dlq", ".status")


async def test_a_mailtopic_gets_a_user_that_can_log_in_and_exactly_its_acls(
    secured: Operators, administrator: Administrator, scram_kafka: ScramNode, mail_name: str
) -> None:
    await secured.started()
    user = await ready(secured, mail_name)
    assert secured.condition(mail_name, "KafkaUserReady") == ("True", "AsSpecified")
    rules = {rule for _, rule in await administrator.rules(user)}
    assert rules == wanted_rules(mail_name)
    await publishes(scram_kafka, user, password_of(secured, mail_name, user), mail_name)
    env = {e["name"]: e.get("value") for e in sender(secured, mail_name)["env"]}
    assert env["MAILTOPIC_KAFKA__USERNAME"] == user


@pytest.fixture
def mail_name(topic: str) -> str:
    """A MailTopic's name that the operator's rights in Kafka cover."""
    return f"mail-{topic}"


def sender(secured: Operators, name: str) -> dict[str, Any]:
    spec = secured.get(f"deployments/{name}-sender")["spec"]["template"]["spec"]
    container: dict[str, Any] = spec["containers"][0]
    return container


async def publishes(node: ScramNode, user: str, password: str, topic: str) -> None:
    settings = KafkaSettings(
        bootstrap_servers=(node.sasl_servers,),
        security_protocol="SASL_PLAINTEXT",
        username=user,
        password=SecretStr(password),
    )
    client = KafkaClient(settings, publish_timeout_s=10)
    await client.publish(topic, key=b"k", value=b"v")
    await client.close()


async def test_what_others_change_in_kafka_or_the_secret_is_put_back(
    secured: Operators, administrator: Administrator, scram_kafka: ScramNode, mail_name: str
) -> None:
    await secured.started(reconcile__resync_s="0.5")
    user = await ready(secured, mail_name)
    wanted = await administrator.rules(user)
    extra = ("TOPIC", "PREFIXED", "other", "READ")

    await administrator.allow(user, extra)
    await administrator.forbid(user, ("TOPIC", "LITERAL", mail_name, "READ"))

    async def is_restored() -> bool:
        return await administrator.rules(user) == wanted

    await until(is_restored, "the ACLs are as before")
    await administrator.remove_user(user)

    async def logs_in() -> bool:
        return user in await administrator.users()

    await until(logs_in, "the user is there again")
    await publishes(scram_kafka, user, password_of(secured, mail_name, user), mail_name)
    before = password_of(secured, mail_name, user)
    secured.kubectl("delete", f"secret/{mail_name}-kafka")

    def has_another() -> bool:
        found = secured.kubectl("get", "secrets", "--output=name")
        return f"{mail_name}-kafka" in found and password_of(secured, mail_name, user) != before

    await until(has_another, "there is another password")
    password = password_of(secured, mail_name, user)
    await until(lambda: accepts(scram_kafka, user, password), "Kafka goes by the new password")
    await administrator.set_password(user, "changed by hand")
    await until(lambda: accepts(scram_kafka, user, password), "Kafka goes by the Secret again")


async def accepts(node: ScramNode, user: str, password: str) -> bool:
    """Whether Kafka lets a user in with a password."""
    quiet: dict[str, Any] = {"log_level": 0, "error_cb": lambda _: None}
    client = AdminClient({**node.login(user, password), **quiet})
    try:
        await asyncio.to_thread(client.list_topics, timeout=3)
    except KafkaException:
        return False
    return True


async def test_another_value_of_the_annotation_rotates_and_the_former_user_goes_last(
    secured: Operators, administrator: Administrator, scram_kafka: ScramNode, mail_name: str
) -> None:
    await secured.started(reconcile__resync_s="0.5")
    former = await ready(secured, mail_name)
    old_password = password_of(secured, mail_name, former)
    where = f"mailtopics.mailtopic.dev/{mail_name}"
    secured.kubectl("annotate", where, "mailtopic.dev/kafka-user=second")

    def users() -> dict[str, str | None]:
        found = secured.status(mail_name)["kafkaUsers"]
        return {each["name"]: each.get("unusedSince") for each in found}

    await until(lambda: len(users()) == 2, "there are two users")
    (user,) = set(users()) - {former}
    await until(
        lambda: (
            {"name": "MAILTOPIC_KAFKA__USERNAME", "value": user}
            in sender(secured, mail_name)["env"]
        ),
        "the senders have the new user",
    )
    # Nothing rolls senders out on this API server: the former user is in use.
    assert await accepts(scram_kafka, former, old_password)
    assert users()[former] is None
    generation = secured.get(f"deployments/{mail_name}-sender")["metadata"]["generation"]
    secured.kubectl(
        *("patch", "deployment", f"{mail_name}-sender", "--subresource=status", "--type=merge"),
        "--patch",
        f'{{"status": {{"observedGeneration": {generation}}}}}',
    )
    await until(lambda: users()[former] is not None, "no sender uses the former user")
    assert await accepts(scram_kafka, former, old_password)
    # As if the pods had stopped long ago; only the status counts the time.
    rest = [{"name": former, "unusedSince": "2026-01-01T00:00:00Z"}, {"name": user}]
    patch = str({"status": {"kafkaUsers": rest}}).replace("'", '"')
    secured.kubectl("patch", where, "--subresource=status", "--type=merge", "--patch", patch)
    await until(lambda: set(users()) == {user}, "the former user is gone")
    assert former not in await administrator.users()
    assert not await administrator.rules(former)
    assert list(secured.get(f"secrets/{mail_name}-kafka")["data"]) == [password_key(user)]
    assert await accepts(scram_kafka, user, password_of(secured, mail_name, user))


async def test_a_deleted_mailtopic_takes_its_user_along_and_nothing_else(
    secured: Operators, administrator: Administrator, mail_name: str
) -> None:
    await secured.started()
    user = await ready(secured, mail_name)
    stranger = f"mailtopic.{secured.namespace}.{mail_name}.0123456789"
    await administrator.set_password(stranger, "not the operator's")
    await administrator.allow(stranger, ("TOPIC", "LITERAL", mail_name, "READ"))
    operators_rules = await administrator.rules(OPERATOR)
    secured.kubectl("delete", f"mailtopics.mailtopic.dev/{mail_name}", "--wait=false")

    def is_gone() -> bool:
        found = secured.kubectl("get", "mailtopics.mailtopic.dev", "--output=name")
        # There is no garbage collector here that ends the senders.
        left = secured.kubectl("get", "deployments", "--output=name")
        if mail_name in left:
            clear = '{"metadata": {"finalizers": null}}'
            secured.kubectl("patch", f"deployment/{mail_name}-sender", "--type=merge", "-p", clear)
        return mail_name not in found

    await until(is_gone, "the MailTopic is gone", timeout_s=30)
    assert user not in await administrator.users()
    assert not await administrator.rules(user)
    assert stranger in await administrator.users()
    assert len(await administrator.rules(stranger)) == 1
    assert await administrator.rules(OPERATOR) == operators_rules


async def test_a_user_that_the_operator_did_not_create_is_left_alone(
    secured: Operators, administrator: Administrator, mail_name: str
) -> None:
    replica = await secured.started(reconcile__resync_s="0.5")
    user = await ready(secured, mail_name)
    where = f"mailtopics.mailtopic.dev/{mail_name}"
    secured.kubectl("annotate", where, "mailtopic.dev/managed=false")
    await until(lambda: secured.condition(mail_name, "Paused") == ("True", "Unmanaged"), "it waits")
    clear = '{"status": {"kafkaUsers": []}}'
    secured.kubectl("patch", where, "--subresource=status", "--type=merge", "--patch", clear)
    await administrator.set_password(user, "taken over")
    secured.kubectl("annotate", "--overwrite", where, "mailtopic.dev/managed=true")
    await until(
        lambda: secured.condition(mail_name, "KafkaUserReady") == ("False", "UserExists"),
        "the user counts as foreign",
    )
    assert replica.exit_code is None
    assert user in await administrator.users()


async def test_brokers_without_an_authorizer_are_told_from_others(tmp_path: Path) -> None:
    node = ScramNode(tmp_path / "open", authorizer=False)
    await node.start()
    metrics = OperatorMetrics(CollectorRegistry())
    config = {"bootstrap.servers": node.bootstrap_servers}
    client = Admin(config, timeout_s=10, metrics=metrics)
    users = ConfluentUsers(client, mechanism="SCRAM-SHA-512", prefix="mailtopic.")
    try:
        user = "mailtopic.shop.mails.0123456789"
        answers = await users.allow({user: [Acl("TOPIC", "mails", "READ")]})
        problem = answers[user]
        assert problem is not None
        assert problem.kind is ProblemKind.NO_AUTHORIZER
        assert await users.describe([user]) == {user: UserState()}
    finally:
        await client.close()
        await node.stop()


async def test_a_missing_right_is_a_condition_that_says_what_to_do(
    secured: Operators, administrator: Administrator, mail_name: str
) -> None:
    right = ("BROKER", "LITERAL", "kafka-cluster", "ALTER")
    await administrator.forbid(OPERATOR, right)
    try:
        await secured.started(reconcile__resync_s="0.5")
        secured.create(mail_name)
        await until(
            lambda: secured.condition(mail_name, "KafkaUserReady") == ("False", "NotAuthorised"),
            "the right is missing",
        )
        conditions = secured.status(mail_name)["conditions"]
        (said,) = [c["message"] for c in conditions if c["type"] == "KafkaUserReady"]
        assert "allow the operator's Kafka user Alter and Describe on the cluster" in said
        assert "deployment" not in secured.kubectl("get", "deployments", "--output=name")
    finally:
        await administrator.allow(OPERATOR, right)
    await secured.is_ready(mail_name, timeout_s=60)
