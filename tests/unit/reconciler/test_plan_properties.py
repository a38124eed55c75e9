"""What holds for every plan, whatever there is and wherever the operator is killed."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mailtopic_operator.domain.actions import DeleteTopic, IncreasePartitions
from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind
from mailtopic_operator.domain.observed import DataObject
from mailtopic_operator.model.mailtopic import FINALIZER
from support.mailtopic_world import ADOPTING, RELAY, World, spec

TIERS = st.sampled_from([["10s", "1m", "5m"], ["10s"], ["30s", "2m"]])
CONFIGS = st.dictionaries(
    st.sampled_from(["min.insync.replicas", "compression.type", "segment.ms", "max.message.bytes"]),
    st.sampled_from(["1", "2", "1048576"]),
    max_size=3,
)
STRAY = st.dictionaries(
    st.sampled_from(["retention.ms", "flush.ms", "segment.ms", "cleanup.policy"]),
    st.sampled_from(["1", "1000", "delete"]),
    max_size=3,
)
NAMES = ("mails", "mails.retry.10s", "mails.retry.1m", "mails.dlq", "mails.status", "other")


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    topic: dict[str, Any] = {
        "partitions": draw(st.integers(1, 8)),
        "config": draw(CONFIGS),
        "unmanagedConfig": draw(st.sampled_from([[], ["flush.ms"]])),
        "retention": draw(st.sampled_from(["24h", "168h"])),
        "adopt": draw(st.booleans()),
    }
    if draw(st.booleans()):
        topic["replicationFactor"] = draw(st.integers(1, 3))
    relay: dict[str, Any] = dict(RELAY)
    if draw(st.booleans()):
        relay |= {"credentialsSecretRef": {"name": "login"}, "rateLimit": "100/s"}
    scaling = {"provider": draw(st.sampled_from(["None", "KEDA"])), "minReplicas": 0}
    return spec(
        topic=topic,
        relays=[relay],
        delivery={"retryTiers": draw(TIERS)},
        consumers={"replicas": draw(st.integers(0, 3)), "autoscaling": scaling},
        deletionPolicy=draw(st.sampled_from(["Retain", "Delete"])),
        paused=draw(st.booleans()),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world = World(spec=draw(specs()), defaults=ADOPTING["defaults"])
    world.apis = draw(st.sampled_from([frozenset(), frozenset({"ScaledObject"})]))
    if draw(st.booleans()):
        world.secrets["login"] = DataObject("1", frozenset({"username", "password"}), "relay")
    for name in draw(st.sets(st.sampled_from(NAMES))):
        world.put_topic(name, draw(st.integers(1, 10)), draw(st.integers(1, 3)), draw(STRAY))
    world.finalizers = draw(st.sampled_from([[], [FINALIZER]]))
    return world


@settings(max_examples=50, deadline=None)
@given(worlds())
def test_after_a_plan_was_carried_out_there_is_nothing_left_to_do(world: World) -> None:
    world.settle()
    world.pass_time(60)
    made = world.plan()
    assert made.actions == ()
    assert made.status is None


@settings(max_examples=50, deadline=None)
@given(worlds(), st.lists(st.integers(0, 12), max_size=6))
def test_wherever_the_operator_is_killed_it_ends_in_the_same_state(
    world: World, kills: list[int]
) -> None:
    straight = World(spec=world.spec, defaults=world.defaults, apis=world.apis)
    straight.secrets = world.secrets
    straight.finalizers, straight.topics = list(world.finalizers), dict(world.topics)
    straight.settle()
    for actions in kills:
        world.round(actions=actions)
    world.settle()
    assert world.outcome() == straight.outcome()


@settings(max_examples=50, deadline=None)
@given(worlds(), st.lists(specs(), max_size=3))
def test_no_plan_shrinks_a_topic_or_deletes_one_that_is_in_use(
    world: World, edits: list[dict[str, Any]]
) -> None:
    strangers = {name: world.topics[name] for name in world.topics if name == "other"}
    for edit in [world.spec, *edits]:
        world.change(**edit)
        for _ in range(4):
            made = world.plan()
            assert not any(isinstance(action, DeleteTopic) for action in made.actions)
            for action in made.actions:
                if isinstance(action, IncreasePartitions):
                    assert action.total > world.topic(action.name).partitions
            world.round()
    assert {name: world.topics[name] for name in strangers} == strangers


@settings(max_examples=50, deadline=None)
@given(worlds(), st.lists(st.integers(0, 3), max_size=4), st.sampled_from(["early", "settled"]))
def test_every_deletion_ends_and_takes_what_the_policy_says(
    world: World, kills: list[int], start: str
) -> None:
    foreign = set(world.topics)
    world.round(actions=3) if start == "early" else world.settle()
    before = set(world.topics)
    has_finalizer = FINALIZER in world.finalizers
    world.deleting_since = world.now
    for actions in kills:
        world.round(actions=actions)
    for _ in range(400):
        if world.is_gone or FINALIZER not in world.finalizers:
            break
        world.pass_time(2)
        world.round()
    assert FINALIZER not in world.finalizers
    gone = before - set(world.topics)
    if world.spec["deletionPolicy"] == "Retain" or not has_finalizer:
        assert gone == set()
    else:
        assert gone == before - foreign


@settings(max_examples=25, deadline=None)
@given(worlds(), st.sampled_from(list(ProblemKind)))
def test_what_kafka_does_not_tell_is_never_changed_in_kafka(
    world: World, kind: ProblemKind
) -> None:
    world.topics = {
        name: KafkaProblem(kind, "so it is")
        for name in world.desired.names.all
        if kind is not ProblemKind.MISSING
    }
    if kind is ProblemKind.MISSING:
        return
    for action in world.plan().actions:
        assert type(action).__name__ not in {"CreateTopic", "AlterConfig", "IncreasePartitions"}
