"""The operator against a real API server and a real Kafka: what it makes, and what it keeps so."""

import json
import time
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import CollectorRegistry

from mailtopic_operator.adapters.kafka_admin import ConfluentAdmin
from mailtopic_operator.adapters.kafka_client import KafkaClient
from mailtopic_operator.domain.kafka import ConfigChange, NewTopic, TopicState
from mailtopic_operator.metrics import OperatorMetrics
from support.conditions import until
from support.operators import OperatorProcess, Operators, mail_topic

Figure = Callable[[str], None]
MAILTOPICS = "mailtopic_operator_mailtopics"
TIERS = (".retry.10s", ".retry.1m", ".retry.5m")


@pytest.fixture
async def admin(mail_operators: Operators) -> AsyncIterator[ConfluentAdmin]:
    client = KafkaClient(
        {"bootstrap.servers": mail_operators.servers},
        timeout_s=10,
        metrics=OperatorMetrics(CollectorRegistry()),
    )
    yield ConfluentAdmin(client)
    await client.close()


async def config(admin: ConfluentAdmin, name: str, key: str) -> str | None:
    state = (await admin.describe([name]))[name]
    return state.config.get(key) if isinstance(state, TopicState) else None


async def test_an_applied_mailtopic_has_its_topics_and_senders_and_is_ready(
    mail_operators: Operators, admin: ConfluentAdmin, topic: str, figure: Figure
) -> None:
    await mail_operators.started()
    started_s = time.monotonic()
    mail_operators.create(topic)
    await mail_operators.is_ready(topic)
    figure(f"apply → Ready: {time.monotonic() - started_s:.2f} s")
    names = [topic, *(topic + tier for tier in TIERS), f"{topic}.dlq", f"{topic}.status"]
    states = await admin.describe(names)
    assert {s.partitions for s in states.values() if isinstance(s, TopicState)} == {3}
    assert len([s for s in states.values() if isinstance(s, TopicState)]) == 6
    children = mail_operators.get("deployments,serviceaccounts,networkpolicies,pdb")["items"]
    owned = [c["kind"] for c in children if c["metadata"].get("ownerReferences")]
    assert sorted(owned) == [
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "ServiceAccount",
    ]
    await until(lambda: len(events(mail_operators)) > 2, "the events are written")
    assert events(mail_operators) == {
        "TopicCreated": f"{topic}, {topic}.retry.10s, {topic}.retry.1m and 3 more:"
        " created with 3 partitions",
        "SendersCreated": f"Deployment/{topic}-sender is created",
        "Ready": f"mails in topic {topic} are delivered",
    }


def events(operators: Operators) -> dict[str, str]:
    """Return the events' texts by their reasons; no reason is there twice."""
    items = operators.get("events")["items"]
    assert len({item["reason"] for item in items}) == len(items)
    return {item["reason"]: item["message"] for item in items}


async def test_what_is_as_it_should_be_is_never_written_again(
    mail_operators: Operators, topic: str
) -> None:
    replica = await mail_operators.started(reconcile__resync_s="0.5")
    mail_operators.create(topic)
    await mail_operators.is_ready(topic)
    await unchanged_again(replica, times=3)
    before = writes(replica)
    await unchanged_again(replica, times=3)
    assert writes(replica) == before
    ready = {"condition": "Ready"}
    counted = {
        s: replica.metric(MAILTOPICS, **ready, status=s) for s in ("True", "False", "Unknown")
    }
    assert counted == {"True": 1, "False": 0, "Unknown": 0}


async def unchanged_again(replica: OperatorProcess, *, times: int) -> None:
    """Wait until the operator has found nothing to do so many times more."""
    name = "mailtopic_operator_reconciles_total"
    last = replica.metric(name, result="unchanged")
    enough = last + times
    await until(lambda: replica.metric(name, result="unchanged") >= enough, "more resyncs")


def writes(replica: OperatorProcess) -> dict[str, float]:
    """Count what has been written; the Lease is replaced by PUT and doesn't count."""
    name = "mailtopic_operator_api_requests_total"
    return {verb: replica.metric(name, verb=verb) for verb in ("patch", "post", "delete")}


async def test_a_hand_edited_topic_config_is_put_back(
    mail_operators: Operators, admin: ConfluentAdmin, topic: str, figure: Figure
) -> None:
    replica = await mail_operators.started(reconcile__resync_s="1")
    mail_operators.create(topic)
    await mail_operators.is_ready(topic)
    wanted = await config(admin, topic, "retention.ms")
    await admin.alter([ConfigChange(topic, {"retention.ms": "1000", "segment.ms": "60000"})])
    started_s = time.monotonic()

    async def put_back() -> bool:
        return (
            await config(admin, topic, "retention.ms") == wanted
            and await config(admin, topic, "segment.ms") is None
        )

    await until(put_back, "the config is put back")
    figure(f"topic config put back after {time.monotonic() - started_s:.2f} s, resync 1 s")
    where = "mailtopic_operator_drift_corrections_total"
    await until(lambda: replica.metric(where, where="kafka") == 1, "the drift is counted")


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("deployment", {"spec": {"replicas": 5}}),
        ("deployment", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}),
        ("pdb", {"spec": {"maxUnavailable": 9}}),
        ("networkpolicy", {"spec": {"egress": [{}]}}),
        ("serviceaccount", {"automountServiceAccountToken": True}),
        ("deployment", {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}),
        ("deployment", {"metadata": {"ownerReferences": None}}),
    ],
)
async def test_a_hand_edited_child_is_put_back(
    mail_operators: Operators, topic: str, kind: str, patch: object, figure: Figure
) -> None:
    await mail_operators.started()
    mail_operators.create(topic)
    await mail_operators.is_ready(topic)
    name = f"{kind}/{topic}-sender"
    before = essence(mail_operators, name)
    mail_operators.kubectl("patch", name, "--type=merge", "-p", json.dumps(patch))
    started_s = time.monotonic()
    await until(lambda: essence(mail_operators, name) == before, f"{kind} is put back")
    figure(f"{kind} {json.dumps(patch)[:60]} put back after {time.monotonic() - started_s:.2f} s")


async def test_a_deleted_child_is_made_again(mail_operators: Operators, topic: str) -> None:
    await mail_operators.started()
    mail_operators.create(topic)
    await mail_operators.is_ready(topic)
    mail_operators.kubectl("delete", f"deployment/{topic}-sender", "--wait=false")

    def is_there() -> bool:
        found = mail_operators.kubectl("get", "deployments", "-o", "name")
        return f"{topic}-sender" in found

    await until(is_there, "the Deployment is there again")


def essence(operators: Operators, name: str) -> object:
    item = operators.get(name)
    meta = item["metadata"]
    kept = {key: meta.get(key) for key in ("labels", "ownerReferences", "annotations")}
    rest = {key: value for key, value in item.items() if key not in {"metadata", "status"}}
    return (kept, rest)


async def test_more_partitions_are_given_to_every_topic(
    mail_operators: Operators, admin: ConfluentAdmin, topic: str
) -> None:
    await mail_operators.started()
    mail_operators.create(topic)
    await mail_operators.is_ready(topic)
    mail_operators.create(topic, topic={"partitions": 5})

    async def all_have_five() -> bool:
        states = await admin.describe([topic, f"{topic}.retry.1m", f"{topic}.status"])
        return {getattr(s, "partitions", 0) for s in states.values()} == {5}

    await until(all_have_five, "all topics have five partitions")
    await mail_operators.is_ready(topic)


def prefixes(operators: Operators) -> dict[str, str]:
    """The setting by which topics that exist may be adopted in the namespace of a test."""
    return {"topics__prefixes": json.dumps({operators.namespace: ["*"]})}


async def test_an_existing_topic_is_adopted_with_its_records_if_both_sides_say_so(
    mail_operators: Operators, admin: ConfluentAdmin, topic: str
) -> None:
    assert await admin.create([NewTopic(topic, 3, -1, {"retention.ms": "5000"})]) == {topic: None}
    await mail_operators.started(**prefixes(mail_operators))
    mail_operators.create(topic)
    wanted = ("False", "TopicExists")
    await until(lambda: mail_operators.condition(topic) == wanted, "the condition says so")
    assert await config(admin, topic, "retention.ms") == "5000"
    mail_operators.create(topic, topic={"partitions": 3, "adopt": True})
    await mail_operators.is_ready(topic)
    assert await config(admin, topic, "retention.ms") == str(168 * 3600 * 1000)
    events = mail_operators.get("events")["items"]
    assert "TopicAdopted" in {event["reason"] for event in events}


async def test_a_topic_of_somebody_else_is_left_alone_whatever_a_mailtopic_says(
    mail_operators: Operators, admin: ConfluentAdmin, topic: str
) -> None:
    foreign = f"{topic}-payments"
    assert await admin.create([NewTopic(foreign, 1, -1, {"retention.ms": "-1"})]) == {foreign: None}
    before = (await admin.describe([foreign]))[foreign]
    await mail_operators.started()
    spec = {"name": foreign, "partitions": 3, "retention": "1h", "adopt": True}
    mail_operators.create(topic, topic=spec, deletionPolicy="Delete")
    wanted = ("False", "TopicExists")
    await until(lambda: mail_operators.condition(topic) == wanted, "the condition says so")
    mail_operators.kubectl("delete", f"mailtopics.mailtopic.dev/{topic}", "--timeout=20s")
    assert await admin.describe([foreign]) == {foreign: before}


async def test_the_older_of_two_mailtopics_has_the_topic(
    mail_operators: Operators, topic: str
) -> None:
    mail_operators.create(topic)
    # creationTimestamp has whole seconds.
    second = int(time.time())
    await until(lambda: int(time.time()) > second, "the next second")
    mail_operators.create("later", topic={"name": topic, "partitions": 3, "adopt": True})
    await mail_operators.started(**prefixes(mail_operators))
    await mail_operators.is_ready(topic)
    wanted = ("False", "TopicConflict")
    await until(lambda: mail_operators.condition("later") == wanted, "the later one says so")
    mail_operators.kubectl("delete", f"mailtopics.mailtopic.dev/{topic}")
    await mail_operators.is_ready("later")


async def test_what_is_not_ours_is_not_taken_over(mail_operators: Operators, topic: str) -> None:
    labels = {"app": "somebody-elses"}
    pod = {"containers": [{"name": "x", "image": "x"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    mail_operators.server.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": f"{topic}-sender", "namespace": mail_operators.namespace},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        }
    )
    await mail_operators.started()
    mail_operators.create(topic)
    await until(lambda: mail_operators.condition(topic, "SendersReady")[0] == "False", "it says so")
    kept = mail_operators.get(f"deployment/{topic}-sender")["spec"]["selector"]["matchLabels"]
    assert kept == labels


async def test_a_paused_mailtopic_keeps_its_topics_and_stops_its_senders(
    mail_operators: Operators, admin: ConfluentAdmin, topic: str
) -> None:
    await mail_operators.started()
    mail_operators.create(topic, consumers={"replicas": 2}, paused=True)
    await until(
        lambda: mail_operators.condition(topic, "Paused")[0] == "True", "it is reported as paused"
    )
    replicas = mail_operators.get(f"deployment/{topic}-sender")["spec"]["replicas"]
    assert replicas == 0
    assert await config(admin, f"{topic}.status", "cleanup.policy") == "compact,delete"


async def test_an_unmanaged_mailtopic_changes_nothing(
    mail_operators: Operators, admin: ConfluentAdmin, topic: str
) -> None:
    await mail_operators.started()
    item = mail_topic(topic, mail_operators.namespace)
    item["metadata"]["annotations"] = {"mailtopic.dev/managed": "false"}
    mail_operators.server.apply(item)
    await until(lambda: mail_operators.condition(topic)[1] != "", "it is reported on")
    states = await admin.describe([topic])
    assert not isinstance(states[topic], TopicState)


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    mail_operators: Operators, admin: ConfluentAdmin, topic: str
) -> None:
    await mail_operators.started()
    item = mail_topic(topic, mail_operators.namespace)
    item["metadata"]["annotations"] = {"mailtopic.dev/dry-run": "true"}
    mail_operators.server.apply(item)
    await until(lambda: mail_operators.status(topic).get("plan"), "the plan is in the status")
    states = await admin.describe([topic])
    assert not isinstance(states[topic], TopicState)


async def test_a_secret_that_was_missing_or_not_released_is_looked_for_again(
    mail_operators: Operators, topic: str
) -> None:
    await mail_operators.started(reconcile__resync_s="3600")
    relay = mail_topic(topic, "")["spec"]["relays"][0]
    mail_operators.create(topic, relays=[{**relay, "caSecretRef": {"name": "authority"}}])

    async def is_judged(reason: str) -> None:
        def is_so() -> bool:
            return mail_operators.condition(topic, "CredentialsValid")[1] == reason

        await until(is_so, reason, timeout_s=15)

    await is_judged("SecretNotFound")
    mail_operators.kubectl("create", "secret", "generic", "authority", "--from-literal=ca.crt=x")
    mail_operators.kubectl("annotate", f"mailtopic/{topic}", "tests/nudge=1")
    await is_judged("SecretNotAllowed")
    mail_operators.kubectl("label", "secret", "authority", "mailtopic.dev/use=ca")
    mail_operators.kubectl("annotate", f"mailtopic/{topic}", "tests/nudge=2", "--overwrite")
    await is_judged("Found")


async def test_with_retain_a_deleted_mailtopic_is_gone_at_once_and_its_topics_stay(
    mail_operators: Operators, admin: ConfluentAdmin, topic: str
) -> None:
    await mail_operators.started()
    mail_operators.create(topic)
    await mail_operators.is_ready(topic)
    item = mail_operators.get(f"mailtopics.mailtopic.dev/{topic}")
    assert not item["metadata"].get("finalizers")
    mail_operators.kubectl("delete", f"mailtopics.mailtopic.dev/{topic}", "--timeout=5s")
    states = await admin.describe([topic])
    assert isinstance(states[topic], TopicState)


async def test_with_delete_the_topics_go_and_then_the_mailtopic(
    mail_operators: Operators, admin: ConfluentAdmin, topic: str, figure: Figure
) -> None:
    await mail_operators.started()
    mail_operators.create(topic, deletionPolicy="Delete")
    await mail_operators.is_ready(topic)
    started_s = time.monotonic()
    # Nobody collects garbage here: a foreground deletion is finished by hand.
    mail_operators.kubectl("delete", f"mailtopics.mailtopic.dev/{topic}", "--wait=false")

    async def is_gone() -> bool:
        finish_foreground_deletions(mail_operators)
        return topic not in mail_operators.kubectl("get", "mailtopics.mailtopic.dev", "-o", "name")

    await until(is_gone, "the MailTopic is gone", timeout_s=60)
    figure(f"deletion with its topics: {time.monotonic() - started_s:.2f} s")
    states = await admin.describe([topic, f"{topic}.dlq", f"{topic}.retry.10s"])
    assert not any(isinstance(state, TopicState) for state in states.values())


def finish_foreground_deletions(operators: Operators) -> None:
    """Do what the garbage collector would: let go of what waits for its dependents."""
    for item in operators.get("deployments")["items"]:
        if "foregroundDeletion" in item["metadata"].get("finalizers", ()):
            name = f"deployment/{item['metadata']['name']}"
            patch = json.dumps({"metadata": {"finalizers": None}})
            operators.kubectl("patch", name, "--type=merge", "-p", patch, check=False)
