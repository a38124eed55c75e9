"""The children of a MailTopic in particular settings of the operator."""

from dataclasses import replace
from typing import Any

import pytest

from mailtopic_operator.domain import actions
from mailtopic_operator.domain.actions import Side, side, target
from mailtopic_operator.domain.children import child_refs, wanted_children
from mailtopic_operator.domain.children.merge import merge
from mailtopic_operator.domain.children.scaling import fixed_replicas
from mailtopic_operator.domain.defaults import (
    KafkaAccess,
    OperatorDefaults,
    SecretKey,
    SenderDefaults,
)
from mailtopic_operator.domain.describing import describe
from mailtopic_operator.domain.kafka import ConfigChange, NewTopic
from mailtopic_operator.domain.observed import ChildRef, Observed
from support.mailtopic_world import DEFAULTS, World, spec

KEDA = Observed(topics={}, apis=frozenset({"ScaledObject"}))
SECURED = OperatorDefaults(
    kafka=KafkaAccess(
        "kafka:9093",
        security_protocol="SASL_SSL",
        username="sender",
        password=SecretKey("kafka-user", "password"),
        ca=SecretKey("kafka-ca", "ca.crt"),
    ),
    sender=SenderDefaults(network_policy=False, image_pull_secrets=("registry",)),
)
SCALED = spec(consumers={"autoscaling": {"provider": "KEDA", "minReplicas": 2}})
DEPLOYMENT = ChildRef("apps/v1", "Deployment", "mails-sender")


def _children(world: World, observed: Observed = KEDA) -> dict[str, Any]:
    return {child["kind"]: child for child in wanted_children(world.desired, observed)}


def test_every_child_is_one_of_those_that_are_looked_for() -> None:
    world = World(spec=SCALED, defaults=SECURED)
    refs = {ChildRef.of(child) for child in wanted_children(world.desired, KEDA)}
    assert refs < set(child_refs(world.desired))


def test_every_child_belongs_to_its_mailtopic() -> None:
    for child in _children(World(spec=SCALED)).values():
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == (
            "MailTopic",
            "uid-of-mails",
            True,
        )
        assert child["metadata"]["labels"]["mailtopic.dev/mailtopic"] == "mails"


def test_keda_logs_in_to_kafka_as_the_senders_do() -> None:
    children = _children(World(spec=SCALED, defaults=SECURED))
    (trigger,) = children["ScaledObject"]["spec"]["triggers"]
    assert trigger["authenticationRef"] == {"name": "mails-sender"}
    assert (trigger["metadata"]["sasl"], trigger["metadata"]["tls"]) == ("scram_sha512", "enable")
    secrets = children["TriggerAuthentication"]["spec"]["secretTargetRef"]
    assert [secret["parameter"] for secret in secrets] == ["password", "ca"]


def test_without_secrets_keda_needs_no_login() -> None:
    children = _children(World(spec=SCALED))
    assert "TriggerAuthentication" not in children
    (trigger,) = children["ScaledObject"]["spec"]["triggers"]
    assert trigger["metadata"]["tls"] == "disable"


def test_a_paused_scaled_object_stays_at_zero() -> None:
    world = World(spec={**SCALED, "paused": True})
    scaled = _children(world)["ScaledObject"]
    assert scaled["metadata"]["annotations"]["autoscaling.keda.sh/paused-replicas"] == "0"
    assert fixed_replicas(world.desired, KEDA) is None


def test_the_operators_settings_decide_on_policies_and_pull_secrets() -> None:
    children = _children(World(defaults=SECURED))
    assert "NetworkPolicy" not in children
    pod = children["Deployment"]["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert "NetworkPolicy" in _children(World(defaults=DEFAULTS))


def test_the_network_policy_lets_kafka_and_relays_through_by_port() -> None:
    world = World(defaults=OperatorDefaults(kafka=KafkaAccess("a:9092,b:9094")))
    egress = _children(world)["NetworkPolicy"]["spec"]["egress"]
    ports = [[port["port"] for port in rule["ports"]] for rule in egress]
    assert ports == [[53, 53, 5353, 5353], [9092, 9094], [587]]


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("http://otel-collector.observability:4318", 4318),
        ("https://otlp.example.com/otlp", 443),
        ("http://[2001:db8::1]", 80),
    ],
)
def test_senders_are_told_of_the_collector_and_may_reach_it(endpoint: str, port: int) -> None:
    traced = replace(
        DEFAULTS, sender=SenderDefaults(tracing_endpoint=endpoint, tracing_sample_ratio=0.5)
    )
    children = _children(World(defaults=traced))
    (container,) = children["Deployment"]["spec"]["template"]["spec"]["containers"]
    env = {each["name"]: each["value"] for each in container["env"]}
    assert env["MAILTOPIC_TRACING__ENDPOINT"] == endpoint
    assert env["MAILTOPIC_TRACING__SAMPLE_RATIO"] == "0.5"
    egress = children["NetworkPolicy"]["spec"]["egress"]
    assert egress[-1] == {"ports": [{"port": port, "protocol": "TCP"}]}


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        ({"a": 1, "b": {"c": 2}}, {"b": {"d": 3}}, {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"args": ["a"]}, {"args": ["b"]}, {"args": ["b"]}),
        (
            {"env": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]},
            {"env": [{"name": "b", "value": "3"}, {"name": "c", "value": "4"}]},
            {
                "env": [
                    {"name": "a", "value": "1"},
                    {"name": "b", "value": "3"},
                    {"name": "c", "value": "4"},
                ]
            },
        ),
        ({"env": [{"name": "a"}]}, {"env": [{"wrong": 1}]}, {"env": [{"wrong": 1}]}),
    ],
)
def test_a_template_is_merged_as_kubectl_merges_it(ours: Any, theirs: Any, merged: Any) -> None:
    assert merge(ours, theirs) == merged


@pytest.mark.parametrize(
    ("action", "words", "where", "what"),
    [
        (actions.AddFinalizer(), "add the finalizer", Side.CLUSTER, "finalizer"),
        (actions.RemoveFinalizer(), "remove the finalizer", Side.CLUSTER, "finalizer"),
        (
            actions.CreateTopic(NewTopic("t", 3, -1)),
            "create topic t with 3 partitions",
            Side.KAFKA,
            "t",
        ),
        (actions.IncreasePartitions("t", 9), "give topic t 9 partitions", Side.KAFKA, "t"),
        (
            actions.AlterConfig(ConfigChange("t", {"a": "1"}, ("b",))),
            "configure topic t: a=1, without b",
            Side.KAFKA,
            "t",
        ),
        (actions.DeleteTopic("t"), "delete topic t with everything in it", Side.KAFKA, "t"),
        (
            actions.ApplyChild(
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "s"}}, "drift"
            ),
            "apply ServiceAccount/s (drift)",
            Side.CLUSTER,
            "ServiceAccount/s",
        ),
        (
            actions.PruneChild(DEPLOYMENT, "7", ()),
            "take out of Deployment/mails-sender what others have put in",
            Side.CLUSTER,
            "Deployment/mails-sender",
        ),
        (
            actions.DeleteChild(DEPLOYMENT, "u"),
            "delete Deployment/mails-sender",
            Side.CLUSTER,
            "Deployment/mails-sender",
        ),
    ],
)
def test_actions_say_what_and_where_they_are(
    action: actions.Action, words: str, where: Side, what: str
) -> None:
    assert describe(action) == words
    assert side(action) is where
    assert target(action) == what
