"""What is planned for a MailTopic that is being deleted."""

from datetime import timedelta

import pytest

from mailtopic_operator.domain.actions import Plan
from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind
from mailtopic_operator.domain.observed import Claimant, Failure, Lag
from mailtopic_operator.domain.planning import plan_invalid
from mailtopic_operator.model.mailtopic import FINALIZER
from support.mailtopic_world import START, World, kinds, spec

MAIN = ("mails", "mails.dlq", "mails.status")


def _deleted(policy: str = "Delete") -> World:
    world = World(spec=spec(deletionPolicy=policy))
    world.settle()
    world.events.clear()
    world.done.clear()
    world.deleting_since = world.now
    return world


def test_the_finalizer_comes_before_the_topics_and_only_with_delete() -> None:
    world = World(spec=spec(deletionPolicy="Delete"))
    assert kinds(world.plan().actions)[:3] == [
        "AddFinalizer",
        "ClaimTopics",
        "CreateTopic",
    ]
    assert "AddFinalizer" not in kinds(World().plan().actions)


def test_the_finalizer_goes_when_the_policy_becomes_retain() -> None:
    world = World(spec=spec(deletionPolicy="Delete"))
    world.settle()
    assert world.finalizers == [FINALIZER]
    world.change(deletionPolicy="Retain")
    world.settle()
    assert world.finalizers == []


def test_with_retain_a_deletion_needs_nobody() -> None:
    world = _deleted("Retain")
    assert world.finalizers == []
    assert world.plan() == Plan()


def test_senders_deliver_what_is_left_before_the_topics_go() -> None:
    world = _deleted()
    world.lag = Lag(5, None, world.now)
    assert world.round().actions == ()
    assert world.condition("Ready") == ("False", "Draining")
    world.pass_time(10)
    world.lag = Lag(0, None, world.now)
    assert kinds(world.round().actions) == ["DeleteChild"]
    assert kinds(world.round().actions) == ["DeleteTopic"] * 6
    assert kinds(world.round().actions) == ["RemoveFinalizer"]
    assert world.is_gone
    assert world.topics == {}
    assert world.reasons() == ["TopicsDeleted"]


def test_a_lag_from_before_the_deletion_says_nothing() -> None:
    world = _deleted()
    world.lag = Lag(0, None, world.now - timedelta(seconds=1))
    world.round()
    assert world.condition("Ready") == ("False", "Draining")


def test_after_the_deadline_the_topics_go_with_what_is_in_them() -> None:
    world = _deleted()
    world.lag = Lag(5, None, world.now)
    world.pass_time(301)
    assert kinds(world.round().actions) == ["DeleteChild"]


def test_nobody_waits_for_senders_that_do_not_run() -> None:
    world = World(spec=spec(deletionPolicy="Delete", paused=True))
    world.settle()
    world.deleting_since = world.now
    world.lag = Lag(5, None, world.now)
    assert kinds(world.round().actions) == ["DeleteChild"]


def test_topics_are_not_deleted_while_senders_could_create_them_again() -> None:
    world = _deleted()
    world.lag = Lag(0, None, world.now)
    world.deployment["metadata"]["deletionTimestamp"] = "2026-11-25T12:00:10Z"
    assert world.round().actions == ()
    assert world.condition("Ready") == ("False", "StoppingSenders")


def test_brokers_that_delete_no_topics_let_the_deletion_through() -> None:
    world = _deleted()
    world.failures = (Failure("mails", ProblemKind.NOT_SUPPORTED, "delete.topic.enable=false"),)
    assert kinds(world.round().actions) == ["RemoveFinalizer"]
    assert world.reasons() == ["TopicsRetained"]
    assert set(MAIN) <= set(world.topics)


def test_missing_acls_hold_a_deletion_for_a_while_only() -> None:
    world = _deleted()
    world.children.clear()
    denied = Failure("mails", ProblemKind.NOT_AUTHORISED, "Delete is not allowed")
    world.failures = (denied,)
    world.round(actions=0)
    made = world.plan()
    assert made.status is not None
    ready = made.status.status["conditions"][0]
    assert ready["reason"] == "DeletionRefused"
    assert "Delete is not allowed" in ready["message"]
    world.pass_time(601)
    assert kinds(world.round().actions) == ["RemoveFinalizer"]
    assert world.reasons() == ["TopicsLeft"]


def test_with_its_namespace_a_mailtopic_and_its_topics_go_without_waiting_for_anything() -> None:
    world = _deleted()
    world.deleting_since = None
    world.is_namespace_terminating = True
    world.lag = Lag(5, None, world.now)
    assert kinds(world.round().actions) == ["DeleteTopic"] * 6
    assert kinds(world.round().actions) == ["RemoveFinalizer"]
    assert world.reasons() == ["TopicsDeleted"]
    assert world.round() == Plan(), "nothing is made again in a namespace that is going"


@pytest.mark.parametrize("is_deleted", [True, False])
def test_a_namespace_that_goes_with_its_kafka_does_not_hang(*, is_deleted: bool) -> None:
    world = _deleted()
    world.deleting_since = world.now if is_deleted else None
    world.is_namespace_terminating = True
    away = KafkaProblem(ProblemKind.UNAVAILABLE, "no broker")
    world.topics = dict.fromkeys(world.desired.names.all, away)
    assert kinds(world.round().actions) == ["RemoveFinalizer"]
    assert world.reasons() == ["TopicsLeft"]


def test_topics_that_kafka_does_not_delete_stay_when_a_namespace_goes() -> None:
    world = _deleted()
    world.is_namespace_terminating = True
    assert kinds(world.round(actions=0).actions) == ["DeleteTopic"] * 6
    world.failures = (Failure("mails", ProblemKind.NOT_AUTHORISED, "Delete is not allowed"),)
    assert kinds(world.round().actions) == ["RemoveFinalizer"]
    assert set(MAIN) <= set(world.topics)


def test_topics_that_another_mailtopic_uses_stay() -> None:
    world = _deleted()
    younger = Claimant("x", "y", "z", START + timedelta(days=1), frozenset({"mails.dlq"}))
    world.claimants = (younger,)
    world.lag = Lag(0, None, world.now)
    while not world.is_gone:
        world.round()
    assert set(world.topics) == {"mails.dlq"}


def test_the_one_that_lost_a_conflict_deletes_nothing() -> None:
    world = _deleted()
    older = Claimant("x", "y", "z", START - timedelta(days=9), frozenset({"mails"}))
    world.claimants = (older,)
    world.round()
    assert world.is_gone
    assert set(MAIN) <= set(world.topics)


@pytest.mark.parametrize("name", ["managed", "dry-run"])
def test_an_annotation_that_forbids_changes_keeps_the_topics(name: str) -> None:
    world = _deleted()
    world.annotations[f"mailtopic.dev/{name}"] = "false" if name == "managed" else "true"
    world.round()
    assert world.is_gone
    assert world.reasons() == ["TopicsRetained"]


def test_topics_of_former_tiers_are_deleted_as_well() -> None:
    world = World(spec=spec(deletionPolicy="Delete"))
    world.settle()
    world.change(delivery={"retryTiers": ["10s"]})
    world.settle()
    assert "mails.retry.5m" in world.topics
    world.deleting_since = world.now
    world.lag = Lag(0, None, world.now)
    while not world.is_gone:
        world.round()
    assert world.topics == {}


def test_a_spec_that_can_not_be_understood_is_told_of_and_nothing_is_done() -> None:
    world = World(spec={"from": {}})
    made = plan_invalid(world.body, "from.address: Field required", world.now)
    assert made.actions == ()
    assert made.status is not None
    reasons = {c["type"]: c["reason"] for c in made.status.status["conditions"]}
    assert reasons["Ready"] == reasons["Stalled"] == "InvalidSpec"
    assert [event.reason for event in made.status.events] == ["InvalidSpec"]
    world.status = dict(made.status.status)
    assert plan_invalid(world.body, "from.address: Field required", world.now).is_settled


def test_a_spec_that_can_not_be_understood_does_not_hold_a_deletion() -> None:
    world = World(spec={}, finalizers=[FINALIZER], deleting_since=START)
    assert kinds(plan_invalid(world.body, "x", START).actions) == ["RemoveFinalizer"]
