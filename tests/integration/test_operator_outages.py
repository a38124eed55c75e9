"""Kafka, the API server or the operator itself is away for a while; then all is as it should be."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_operator.adapters.kafka_admin import ConfluentAdmin
from mailtopic_operator.adapters.kafka_client import KafkaClient
from mailtopic_operator.domain.kafka import ConfigChange, TopicState
from mailtopic_operator.metrics import OperatorMetrics
from support.api_server import ApiServer, running_api_server
from support.conditions import until
from support.operators import OperatorProcess, Operators, install_crds, operators

Figure = Callable[[str], None]


@pytest.fixture
def own_api_server(tmp_path: Path) -> Iterator[ApiServer]:
    for server in running_api_server(tmp_path / "api", "integration"):
        install_crds(server)
        yield server


@pytest.fixture
async def away(
    tmp_path: Path, api_server: ApiServer, own_kafka: KafkaNode
) -> AsyncIterator[Operators]:
    async with operators(tmp_path / "op", api_server, own_kafka.bootstrap_servers) as found:
        yield found


async def test_without_kafka_a_mailtopic_says_so_and_is_ready_soon_after_kafka_is_back(
    away: Operators, own_kafka: KafkaNode, topic: str, figure: Figure
) -> None:
    await own_kafka.stop()
    await away.started()
    away.create(topic)
    wanted = "KafkaUnavailable"
    await until(lambda: away.condition(topic, "TopicsReady")[1] == wanted, "it says so")
    await own_kafka.start()
    started_s = time.monotonic()
    await away.is_ready(topic)
    figure(f"Ready {time.monotonic() - started_s:.1f} s after Kafka was back")


async def test_while_kafka_is_away_children_are_still_put_back(
    away: Operators, own_kafka: KafkaNode, topic: str
) -> None:
    await away.started()
    away.create(topic)
    await away.is_ready(topic)
    await own_kafka.kill()
    patch = json.dumps({"spec": {"maxUnavailable": 9}})
    budget = f"pdb/{topic}-sender"
    away.kubectl("patch", budget, "--type=merge", "-p", patch)
    await until(lambda: away.get(budget)["spec"]["maxUnavailable"] == 1, "it is put back")


async def test_an_api_server_that_was_away_is_caught_up_with(
    tmp_path: Path, own_api_server: ApiServer, kafka: KafkaNode, topic: str, figure: Figure
) -> None:
    async with operators(tmp_path / "op", own_api_server, kafka.bootstrap_servers) as found:
        # Longer than the outage: the lease must outlive it, or the replica ends, as it should.
        replica = await found.started(lease__duration_s="60", reconcile__resync_s="3600")
        found.create(topic)
        await found.is_ready(topic)
        await own_api_server.stop_api()
        await asyncio.sleep(2)
        own_api_server.start_api()
        started_s = time.monotonic()
        found.create("after", topic={"name": f"{topic}-after", "partitions": 3})
        await found.is_ready("after", timeout_s=60)
        figure(f"Ready {time.monotonic() - started_s:.1f} s after the API server was back")
        assert replica.exit_code is None


async def test_an_expired_watch_is_opened_anew(
    tmp_path: Path, own_api_server: ApiServer, kafka: KafkaNode, topic: str
) -> None:
    async with operators(tmp_path / "op", own_api_server, kafka.bootstrap_servers) as found:
        await found.started(lease__duration_s="120", reconcile__resync_s="3600")
        found.create(topic)
        await found.is_ready(topic)
        # A restarted API server whose etcd was compacted knows none of the old versions (410).
        await own_api_server.stop_api()
        own_api_server.compact()
        own_api_server.start_api()
        found.create(topic, topic={"partitions": 4})

        def has_four() -> bool:
            return bool(found.status(topic)["topic"]["partitions"] == 4)

        await until(has_four, "the change is seen", timeout_s=60)


async def test_a_stopped_leader_is_followed_at_once_and_a_killed_one_after_its_lease(
    mail_operators: Operators, topic: str, figure: Figure
) -> None:
    first = await mail_operators.started()
    second = mail_operators.start()
    await until(lambda: second.probe("/readyz")[0] == 200, "the second one waits for its turn")
    assert leaders(mail_operators) == [first]
    started_s = time.monotonic()
    assert await first.stop() == 0
    await second.leads()
    figure(f"after SIGTERM another leads in {time.monotonic() - started_s:.2f} s")
    third = mail_operators.start()
    await until(lambda: third.probe("/readyz")[0] == 200, "the third one waits for its turn")
    started_s = time.monotonic()
    await second.kill()
    await third.leads()
    figure(f"after SIGKILL another leads in {time.monotonic() - started_s:.2f} s, lease 3 s")
    mail_operators.create(topic)
    await mail_operators.is_ready(topic)


def leaders(found: Operators) -> list[OperatorProcess]:
    name = "mailtopic_operator_is_leader"
    return [each for each in found.replicas if each.metric(name) == 1]


async def test_a_frozen_leader_that_wakes_up_does_nothing_and_ends(
    mail_operators: Operators, topic: str
) -> None:
    first = await mail_operators.started()
    second = mail_operators.start()
    first.freeze()
    await second.leads()
    mail_operators.create(topic)
    await mail_operators.is_ready(topic)
    first.thaw()
    assert await first.wait() == 75
    actions = [line for line in first.lines if line["event"] == "action.done"]
    assert actions == []
    assert second.exit_code is None


@pytest.mark.timeout(300)
@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_killed_before_any_of_its_actions_it_ends_in_the_same_state(
    mail_operators: Operators, topic: str, policy: str, figure: Figure
) -> None:
    await crash_everywhere(
        mail_operators,
        lambda number: mail_operators.create(
            f"{topic}-{number}", topic={"name": f"{topic}-{number}"}, deletionPolicy=policy
        ),
        lambda number: f"{topic}-{number}",
        figure,
    )


async def crash_everywhere(
    found: Operators,
    create: Callable[[int], None],
    name: Callable[[int], str],
    figure: Figure,
) -> None:
    """Create resources, each with an operator that dies before another action of it."""
    reference = await found.started()
    create(0)
    await found.is_ready(name(0))
    await reference.stop()
    wanted = outcome(found, name(0))
    deaths = 0
    for number in range(1, 30):
        found.settings["STOP_BEFORE_ACTION"] = str(number)
        dying = found.start(program="support.stopping_operator")
        create(number)

        def ready_or_dead(number: int = number, dying: OperatorProcess = dying) -> bool:
            is_dead = dying.exit_code is not None
            return is_dead or found.condition(name(number))[0] == "True"

        await until(ready_or_dead, "it dies, or had fewer actions than that")
        if dying.exit_code is None:
            break
        assert dying.exit_code == -9
        deaths += 1
        heir = await found.started()
        await found.is_ready(name(number))
        await heir.stop()
        assert outcome(found, name(number)) == wanted
    assert deaths >= 5
    figure(f"killed before each of {deaths} steps, the same state each time")


def outcome(found: Operators, name: str) -> object:
    """Return all that came of a resource, with its name taken out."""
    item = found.get(f"mailtopics.mailtopic.dev/{name}")
    kinds = "deployments,serviceaccounts,networkpolicies,pdb"
    children = [
        {key: value for key, value in child.items() if key not in {"metadata", "status"}}
        for child in found.get(kinds)["items"]
        if child["metadata"].get("labels", {}).get("mailtopic.dev/mailtopic") == name
    ]
    conditions = {c["type"]: (c["status"], c["reason"]) for c in item["status"]["conditions"]}
    # What was measured depends on when.
    known = {k: v for k, v in conditions.items() if v[1] not in {"NotMeasured", "Empty"}}
    topics = sorted((t["name"], t["partitions"]) for t in item["status"]["topics"])
    seen = (topics, known, sorted(children, key=lambda c: str(c["kind"])))
    finalizers = item["metadata"].get("finalizers", [])
    return json.loads(json.dumps((seen, finalizers)).replace(name, "NAME"))


async def test_what_was_edited_while_no_operator_ran_is_put_back(
    mail_operators: Operators, topic: str
) -> None:
    first = await mail_operators.started()
    mail_operators.create(topic)
    await mail_operators.is_ready(topic)
    await first.stop()
    client = KafkaClient(
        {"bootstrap.servers": mail_operators.servers},
        timeout_s=10,
        metrics=OperatorMetrics(CollectorRegistry()),
    )
    admin = ConfluentAdmin(client)
    await admin.alter([ConfigChange(topic, {"retention.ms": "1"})])
    mail_operators.kubectl("delete", f"pdb/{topic}-sender")
    await mail_operators.started()

    async def put_back() -> bool:
        state = (await admin.describe([topic]))[topic]
        budgets: list[Any] = mail_operators.get("pdb")["items"]
        return (
            isinstance(state, TopicState)
            and state.config["retention.ms"] != "1"
            and len(budgets) == 1
        )

    await until(put_back, "both are put back")
    await client.close()
