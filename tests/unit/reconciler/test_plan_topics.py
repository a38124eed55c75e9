"""What is planned for topics, and what is said of those that can't be as specified."""

from typing import Any

import pytest

from mailtopic_operator.domain.actions import AlterConfig, CreateTopic
from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind
from mailtopic_operator.domain.observed import Failure
from support.mailtopic_world import ADOPTING, World, kinds, spec

ALL = (
    "mails",
    "mails.retry.10s",
    "mails.retry.1m",
    "mails.retry.5m",
    "mails.dlq",
    "mails.status",
)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def settled() -> World:
    world = World()
    world.settle()
    world.events.clear()
    world.done.clear()
    return world


def test_a_new_mailtopic_gets_all_topics_and_then_its_senders(world: World) -> None:
    first = world.round()
    assert kinds(first.actions) == ["ClaimTopics"] + ["CreateTopic"] * 6
    assert tuple(a.topic.name for a in first.actions if isinstance(a, CreateTopic)) == ALL
    assert world.condition("Ready") == ("False", "TopicsMissing")
    assert world.condition("Reconciling") == ("True", "TopicsMissing")
    second = world.round()
    assert kinds(second.actions) == ["ApplyChild"] * 4
    world.settle()
    assert world.condition("Ready") == ("True", "Delivering")
    assert world.condition("Reconciling") == ("False", "Settled")
    assert world.condition("Stalled") == ("False", "Settled")
    assert world.reasons() == ["TopicCreated"] * 6 + ["SendersCreated", "Ready"]


def test_topics_are_created_as_senders_create_them(world: World) -> None:
    world.round()
    week, fortnight = str(168 * 3_600_000), str(336 * 3_600_000)
    large, larger = str(4 * 1024 * 1024), str(4 * 1024 * 1024 + 64 * 1024)
    assert world.topic("mails").config == {"max.message.bytes": large, "retention.ms": week}
    retry = {"max.message.bytes": larger, "retention.ms": week}
    assert world.topic("mails.retry.1m").config == retry
    assert world.topic("mails.dlq").config == retry | {"retention.ms": fortnight}
    status = {"cleanup.policy": "compact,delete", "retention.ms": fortnight}
    assert world.topic("mails.status").config == status
    assert {world.topic(name).partitions for name in ALL} == {6}


def test_nothing_is_written_when_nothing_changed(settled: World) -> None:
    settled.pass_time(100_000)
    assert settled.plan().is_settled


def test_a_config_key_changed_by_hand_is_put_back_and_told(settled: World) -> None:
    topic = settled.topic("mails")
    config = {**topic.config, "retention.ms": "1", "flush.ms": "7"}
    settled.put_topic("mails", 6, 3, config, topic.topic_id)
    made = settled.round()
    (action,) = made.actions
    assert isinstance(action, AlterConfig)
    assert dict(action.change.set) == {"retention.ms": "604800000"}
    assert action.change.remove == ("flush.ms",)
    assert settled.reasons() == ["DriftCorrected"]
    settled.settle()
    assert settled.topic("mails").config == topic.config


def test_configuration_of_others_is_left_alone_where_the_spec_says_so(world: World) -> None:
    world.spec = spec(topic={"unmanagedConfig": ["flush.ms"]})
    world.settle()
    topic = world.topic("mails")
    throttle = {"leader.replication.throttled.replicas": "*"}
    config = {**topic.config, "flush.ms": "7", **throttle}
    world.put_topic("mails", 6, 3, config, topic.topic_id)
    assert world.plan().actions == ()


def test_a_config_key_taken_out_of_the_spec_is_taken_from_the_topics(world: World) -> None:
    world.spec = spec(topic={"config": {"min.insync.replicas": "2"}})
    world.settle()
    world.events.clear()
    assert world.topic("mails.dlq").config["min.insync.replicas"] == "2"
    world.change(topic={})
    world.settle()
    assert "min.insync.replicas" not in world.topic("mails.dlq").config
    assert set(world.reasons()) == {"ConfigChanged", "Ready"}


def test_more_partitions_are_given_to_every_topic(settled: World) -> None:
    settled.change(topic={"partitions": 9})
    made = settled.round()
    assert kinds(made.actions).count("IncreasePartitions") == 6
    assert settled.condition("Ready") == ("False", "TopicsDiffer")
    settled.settle()
    assert {settled.topic(name).partitions for name in ALL} == {9}


def test_an_existing_topic_is_adopted_if_the_spec_and_the_operator_say_so() -> None:
    world = World(**ADOPTING)
    world.put_topic("mails", 3, 3, {"retention.ms": "1000"})
    world.settle()
    assert world.topic("mails").partitions == 6
    assert world.topic("mails").topic_id == "id-1"
    assert "TopicAdopted" in world.reasons()
    assert world.condition("Ready")[0] == "True"
    assert {t["name"]: t["origin"] for t in world.status["topics"]} == {
        name: "Adopted" if name == "mails" else "Created" for name in ALL
    }


def test_a_topic_with_more_partitions_is_left_and_the_others_follow_it() -> None:
    world = World(**ADOPTING)
    world.put_topic("mails", 12)
    world.settle()
    assert {world.topic(name).partitions for name in ALL} == {12}
    assert world.condition("TopicsReady") == ("False", "PartitionsExceedSpec")
    assert world.condition("Stalled") == ("True", "PartitionsExceedSpec")
    assert "write partitions: 12 into spec.topic" in world.message("Ready")
    assert world.condition("SendersReady") == ("True", "Running")


def test_a_topic_with_another_number_of_copies_is_told_of() -> None:
    world = World(**ADOPTING)
    world.spec = spec(topic={"replicationFactor": 2, "adopt": True})
    world.put_topic("mails", 6, 3)
    world.settle()
    assert world.condition("TopicsReady") == ("False", "ReplicationFactorMismatch")
    assert "has 3 copies instead of 2" in world.message("TopicsReady")


def test_a_topic_that_somebody_made_again_is_told_of_for_an_hour(settled: World) -> None:
    settled.put_topic("mails", 6, 3, settled.topic("mails").config)
    settled.settle()
    assert settled.condition("TopicsReady") == ("True", "TopicRecreated")
    assert settled.condition("Ready")[0] == "True"
    assert settled.reasons() == ["TopicRecreated"]
    left_s = settled.plan().requeue_after_s
    assert left_s is not None
    settled.pass_time(left_s + 1)
    settled.settle()
    assert settled.condition("TopicsReady") == ("True", "AsSpecified")


def test_a_topic_that_is_gone_is_created_again_and_that_is_told(settled: World) -> None:
    del settled.topics["mails.dlq"]
    settled.settle()
    assert "mails.dlq" in settled.topics
    assert settled.reasons()[:2] == ["TopicLost", "TopicRecreated"]


def test_the_topic_of_a_former_tier_stays_and_is_remembered(settled: World) -> None:
    settled.change(delivery={"retryTiers": ["10s", "5m"]})
    settled.settle()
    assert "mails.retry.1m" in settled.topics
    names = [topic["name"] for topic in settled.status["topics"]]
    assert names == [name for name in ALL if name != "mails.retry.1m"] + ["mails.retry.1m"]


def test_while_kafka_is_away_nothing_is_done_to_it_and_senders_are_kept(settled: World) -> None:
    before = dict(settled.topics)
    settled.topics = {name: KafkaProblem(ProblemKind.UNAVAILABLE, "no broker") for name in ALL}
    settled.deployment["spec"]["replicas"] = 9
    settled.round()
    assert kinds(settled.done) == ["ApplyChild"]
    assert settled.condition("TopicsReady") == ("Unknown", "KafkaUnavailable")
    assert settled.condition("Ready") == ("False", "KafkaUnavailable")
    assert settled.condition("Stalled")[0] == "False"
    assert "KafkaUnavailable" in settled.reasons()
    settled.topics = dict(before)
    settled.settle()
    assert settled.condition("Ready") == ("True", "Delivering")


@pytest.mark.parametrize(
    ("kind", "reason", "words"),
    [
        (ProblemKind.NOT_AUTHORISED, "NotAuthorised", "allow the operator's user"),
        (ProblemKind.POLICY, "PolicyViolation", "a policy of the brokers"),
        (ProblemKind.INVALID, "InvalidTopic", "correct spec.topic"),
    ],
)
def test_what_kafka_refuses_stalls_with_a_reason(
    world: World, kind: ProblemKind, reason: str, words: str
) -> None:
    world.failures = (Failure("mails", kind, "so it is"),)
    made = world.round(actions=0)
    assert made.status is not None
    world.status = dict(made.status.status)
    assert world.condition("TopicsReady") == ("False", reason)
    assert world.condition("Stalled") == ("True", reason)
    assert "topic mails: so it is" in world.message("TopicsReady")
    assert words in world.message("TopicsReady")
    assert made.requeue_after_s is not None


def test_a_past_failure_says_nothing_once_there_is_nothing_left_to_do(settled: World) -> None:
    settled.failures = (Failure("mails", ProblemKind.INVALID, "once"),)
    assert settled.plan().is_settled


def test_a_topic_that_may_not_be_seen_stalls_with_the_reason(world: World) -> None:
    denied = KafkaProblem(ProblemKind.NOT_AUTHORISED, "Describe is not allowed")
    world.topics = dict.fromkeys(ALL, denied)
    world.settle()
    assert world.done == []
    assert world.condition("Stalled") == ("True", "NotAuthorised")
    assert world.condition("SendersReady") == ("False", "WaitingForTopics")


def test_transition_times_move_with_the_status_only(settled: World) -> None:
    def times() -> dict[str, Any]:
        return {c["type"]: c["lastTransitionTime"] for c in settled.status["conditions"]}

    before = times()
    settled.pass_time(500)
    settled.change(topic={"retention": "24h"})
    settled.settle()
    after = times()
    assert after["Ready"] > before["Ready"]
    assert after["CredentialsValid"] == before["CredentialsValid"]
    assert {c["observedGeneration"] for c in settled.status["conditions"]} == {2}
