"""What the operator's engine may rely on, of a real Kafka and of its fake alike."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest
from prometheus_client import CollectorRegistry

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_client import KafkaClient as Publisher
from mailtopic_client import KafkaSettings
from mailtopic_operator.adapters.kafka_admin import ConfluentAdmin
from mailtopic_operator.adapters.kafka_backlog import ConfluentBacklog
from mailtopic_operator.adapters.kafka_client import KafkaClient
from mailtopic_operator.adapters.kafka_memory import MemoryAdmin
from mailtopic_operator.domain.kafka import (
    ConfigChange,
    KafkaProblem,
    NewTopic,
    ProblemKind,
    TopicState,
)
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_operator.ports import KafkaAdmin
from support.conditions import until
from support.ports import free_port


def client_of(servers: str, *, timeout_s: float = 10) -> KafkaClient:
    config = {"bootstrap.servers": servers}
    return KafkaClient(config, timeout_s=timeout_s, metrics=OperatorMetrics(CollectorRegistry()))


@pytest.fixture(params=["memory", "kafka"])
def servers(request: pytest.FixtureRequest) -> str | None:
    if request.param == "memory":
        return None
    kafka: KafkaNode = request.getfixturevalue("kafka")
    return kafka.bootstrap_servers


@pytest.fixture
async def admin(servers: str | None) -> AsyncIterator[KafkaAdmin]:
    if servers is None:
        yield MemoryAdmin()
        return
    client = client_of(servers)
    yield ConfluentAdmin(client)
    await client.close()


@pytest.fixture
def name() -> str:
    return f"operator-{uuid.uuid4().hex[:8]}"


async def has_coordinator(backlog: ConfluentBacklog, name: str) -> bool:
    answers = await backlog.lags({name: {name: 3}})
    return kind(answers[name]) is not ProblemKind.UNAVAILABLE


def kind(answer: object) -> ProblemKind | None:
    return answer.kind if isinstance(answer, KafkaProblem) else None


async def made(admin: KafkaAdmin, name: str, **config: str) -> TopicState:
    dotted = {key.replace("_", "."): value for key, value in config.items()}
    assert await admin.create([NewTopic(name, 3, -1, dotted)]) == {name: None}
    return await state(admin, name)


async def state(admin: KafkaAdmin, name: str) -> TopicState:
    return (await states(admin, [name]))[name]


async def states(admin: KafkaAdmin, names: Sequence[str]) -> dict[str, TopicState]:
    """Describe topics, as soon as all of them are seen: that may take a moment."""
    found: dict[str, TopicState] = {}

    async def all_seen() -> bool:
        described = await admin.describe(names)
        found.update({n: s for n, s in described.items() if isinstance(s, TopicState)})
        return len(found) == len(names)

    await until(all_seen, "the topics are seen")
    return found


async def test_a_created_topic_is_described_with_what_was_set_on_it_and_nothing_else(
    admin: KafkaAdmin, name: str
) -> None:
    topic = await made(admin, name, retention_ms="60000")
    assert (topic.partitions, topic.replication_factor) == (3, 1)
    assert topic.config == {"retention.ms": "60000"}


async def test_many_topics_are_answered_one_by_one(admin: KafkaAdmin, name: str) -> None:
    await made(admin, name)
    answers = await admin.create(
        [
            NewTopic(name, 3, -1),
            NewTopic(f"{name}.dlq", 3, -1),
            NewTopic(f"{name}.far", 3, 9),
            NewTopic(f"{name}.odd", 3, -1, {"bogus": "1"}),
            NewTopic(f"{name} ?", 3, -1),
        ]
    )
    invalid = ProblemKind.INVALID
    kinds = [kind(answer) for answer in answers.values()]
    assert kinds == [ProblemKind.EXISTS, None, invalid, invalid, invalid]


async def test_an_absent_topic_is_missing_and_is_not_made_by_asking(
    admin: KafkaAdmin, name: str
) -> None:
    for _ in range(2):
        assert kind((await admin.describe([name]))[name]) is ProblemKind.MISSING


async def test_a_dry_run_makes_nothing(admin: KafkaAdmin, name: str) -> None:
    assert await admin.create([NewTopic(name, 3, -1)], dry_run=True) == {name: None}
    assert kind((await admin.describe([name]))[name]) is ProblemKind.MISSING


async def test_partitions_grow_and_never_shrink(admin: KafkaAdmin, name: str) -> None:
    await made(admin, name)
    assert await admin.grow({name: 5}) == {name: None}

    async def grown() -> bool:
        return (await state(admin, name)).partitions == 5

    await until(grown, "five partitions are seen")
    answers = await admin.grow({name: 4, f"{name}.absent": 4})
    assert [kind(answer) for answer in answers.values()] == [
        ProblemKind.INVALID,
        ProblemKind.MISSING,
    ]


async def test_altering_some_keys_leaves_the_others(admin: KafkaAdmin, name: str) -> None:
    await made(admin, name, retention_ms="60000", segment_bytes="1048576")
    change = ConfigChange(name, {"cleanup.policy": "compact"}, ("retention.ms",))
    assert await admin.alter([change]) == {name: None}
    topic = await state(admin, name)
    assert topic.config == {"segment.bytes": "1048576", "cleanup.policy": "compact"}


async def test_an_unknown_config_key_is_refused_alone(admin: KafkaAdmin, name: str) -> None:
    await made(admin, name)
    await made(admin, f"{name}.other")
    answers = await admin.alter(
        [
            ConfigChange(name, {"bogus": "1"}),
            ConfigChange(f"{name}.other", {"retention.ms": "5"}),
        ]
    )
    assert [kind(answer) for answer in answers.values()] == [ProblemKind.INVALID, None]


async def test_a_deleted_topic_is_missing_and_comes_back_under_another_id(
    admin: KafkaAdmin, name: str
) -> None:
    before = await made(admin, name)
    assert await admin.delete([name]) == {name: None}
    assert kind((await admin.delete([name]))[name]) is ProblemKind.MISSING

    async def made_again() -> bool:
        return kind((await admin.create([NewTopic(name, 3, -1)]))[name]) is None

    await until(made_again, "the topic is made again")
    assert (await state(admin, name)).topic_id != before.topic_id


def requests(registry: CollectorRegistry) -> float:
    metrics = [sample for metric in registry.collect() for sample in metric.samples]
    name = "mailtopic_operator_admin_requests_total"
    return sum(sample.value for sample in metrics if sample.name == name)


async def test_a_thousand_topics_take_few_requests_and_little_time(
    kafka: KafkaNode, name: str
) -> None:
    registry = CollectorRegistry()
    client = KafkaClient(
        {"bootstrap.servers": kafka.bootstrap_servers},
        timeout_s=30,
        metrics=OperatorMetrics(registry),
    )
    admin = ConfluentAdmin(client)
    names = [f"{name}.{number}" for number in range(1000)]
    topics = [NewTopic(each, 1, -1, {"retention.ms": "60000"}) for each in names]
    assert set((await admin.create(topics)).values()) == {None}
    # How often one has to look until the broker shows them is another's to count.
    onlooker = client_of(kafka.bootstrap_servers, timeout_s=30)
    await states(ConfluentAdmin(onlooker), names)
    await onlooker.close()
    assert all(isinstance(each, TopicState) for each in (await admin.describe(names)).values())
    assert set((await admin.delete(names)).values()) == {None}
    await client.close()
    assert (
        sum(
            sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == "mailtopic_operator_admin_requests_total"
        )
        == 1 + 1 + 4 + 1
    )


async def test_a_broker_that_is_away_is_an_answer_in_time_and_the_loop_goes_on() -> None:
    client = client_of(f"127.0.0.1:{free_port()}", timeout_s=1)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    started_s = time.monotonic()
    answers = await ConfluentAdmin(client).describe(["mails"])
    assert kind(answers["mails"]) is ProblemKind.UNAVAILABLE
    assert time.monotonic() - started_s < 5
    assert ticks > 50
    ticking.cancel()
    await client.close()


async def test_what_waits_is_counted_unread_as_well(kafka: KafkaNode, name: str) -> None:
    client = client_of(kafka.bootstrap_servers)
    await made(ConfluentAdmin(client), name)
    servers = (kafka.bootstrap_servers,)
    publisher = Publisher(KafkaSettings(bootstrap_servers=servers))
    await publisher.connect()
    for number in range(7):
        await publisher.publish(name, key=str(number).encode(), value=b"x")
    await publisher.close()
    backlog = ConfluentBacklog(client)
    assert await backlog.counts({name: 3}) == {name: 7}
    # A group that has never committed would begin at the start. Who asks a new broker's first
    # coordinator before it has loaded its partition hears that it isn't available yet.
    await until(lambda: has_coordinator(backlog, name), "the coordinator has loaded")
    assert await backlog.lags({name: {name: 3}}) == {name: 7}
    await client.close()
