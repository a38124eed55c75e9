"""What the author of a MailTopic can't do: each attack ends in a condition, and changes nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from mailtopic_operator.domain.actions import (
    AlterConfig,
    ClaimTopics,
    CreateTopic,
    DeleteTopic,
    IncreasePartitions,
)
from mailtopic_operator.domain.children.pod_fields import refused_fields
from mailtopic_operator.domain.defaults import Border
from mailtopic_operator.domain.kafka import ProblemKind
from mailtopic_operator.domain.observed import DataObject, Failure, Lag
from mailtopic_operator.engine.claims import Claims
from mailtopic_operator.engine.store import Key
from mailtopic_operator.model.mailtopic import FINALIZER
from support.mailtopic_world import ADOPTING, DEFAULTS, RELAY, World, kinds, spec

IN_KAFKA = (AlterConfig, CreateTopic, DeleteTopic, IncreasePartitions)


def _world(border: Border, **changes: Any) -> World:
    return World(spec=spec(**changes), defaults=replace(DEFAULTS, border=border))


def _gone(world: World) -> World:
    """Delete a MailTopic, and go on until it is gone."""
    world.deleting_since = world.now
    world.lag = Lag(0, None, world.now)
    for _ in range(10):
        if world.is_gone or FINALIZER not in world.finalizers:
            return world
        world.round()
    raise AssertionError("it is still there")


def _nothing_was_done_in_kafka(world: World) -> bool:
    return not any(isinstance(action, IN_KAFKA) for action in world.done)


# -- topics


@pytest.mark.parametrize("adopt", [False, True])
def test_a_topic_of_somebody_else_is_neither_changed_nor_deleted(*, adopt: bool) -> None:
    topic = {"name": "payments", "adopt": adopt, "retention": "1h"}
    world = _world(Border(), topic=topic, deletionPolicy="Delete")
    world.put_topic("payments", 3, 3, {"retention.ms": "-1"})
    world.settle()
    before = dict(world.topics)
    assert world.condition("TopicsReady") == ("False", "TopicExists")
    assert world.condition("Stalled")[0] == "True"
    assert "operator.topics.prefixes" in world.message("Ready")
    assert world.children == {}, "no sender reads it"
    world.finalizers = [FINALIZER]
    _gone(world)
    assert world.topics == before
    assert _nothing_was_done_in_kafka(world)
    assert world.reasons()[-1] == "TopicsRetained"


def test_the_spec_alone_and_the_settings_alone_adopt_nothing() -> None:
    world = _world(Border(topic_prefixes={"shop": ("mails",)}))
    world.put_topic("mails", 6)
    world.settle()
    assert world.condition("TopicsReady") == ("False", "TopicExists")
    assert "write adopt: true into spec.topic" in world.message("TopicsReady")
    world.change(topic={"adopt": True})
    world.settle()
    assert world.condition("Ready")[0] == "True"


def test_how_much_lies_in_a_topic_of_somebody_else_is_not_told() -> None:
    world = _world(Border(), topic={"name": "payments"})
    world.put_topic("payments", 3)
    world.lag, world.dead_letters = Lag(4711, 3, world.now), 12
    world.settle()
    assert "lag" not in world.status
    assert "deadLetter" not in world.status


@pytest.mark.parametrize(
    ("border", "name", "is_allowed"),
    [
        (Border(), "anything", True),
        (Border(is_shared=True), "shop", True),
        (Border(is_shared=True), "shop.codes", True),
        (Border(is_shared=True), "shopping", False),
        (Border(is_shared=True), "forum.codes", False),
        (Border(topic_prefixes={"shop": ("codes",)}), "codes-1", True),
        (Border(topic_prefixes={"shop": ("codes",)}), "payments", False),
        (Border(topic_prefixes={"shop": ()}), "shop.codes", False),
        (Border(topic_prefixes={"shop": ("*",)}, is_shared=True), "payments", True),
        (Border(topic_prefixes={"*": ("{namespace}-",)}), "shop-codes", True),
        (Border(topic_prefixes={"*": ("{namespace}-",)}), "forum-codes", False),
        (Border(topic_prefixes={"*": ("x",), "shop": ("y",)}), "x", False),
    ],
)
def test_names_are_bounded_by_namespace(border: Border, name: str, *, is_allowed: bool) -> None:
    world = _world(border, topic={"name": name})
    world.settle()
    if is_allowed:
        assert world.condition("Ready")[0] == "True"
        return
    assert world.condition("TopicsReady") == ("False", "TopicNotAllowed")
    assert world.topics == {}
    assert world.children == {}


def test_prefixes_of_the_settings_end_what_was_begun_without_them() -> None:
    world = _world(Border(), topic={"name": "payments"}, deletionPolicy="Delete")
    world.settle()
    world.defaults = replace(DEFAULTS, border=Border(topic_prefixes={"shop": ("shop.",)}))
    world.done.clear()
    world.change(topic={"name": "payments", "retention": "1h"})
    world.settle()
    assert world.condition("TopicsReady") == ("False", "TopicNotAllowed")
    _gone(world)
    assert _nothing_was_done_in_kafka(world)


def test_what_ran_before_several_namespaces_were_told_apart_goes_on() -> None:
    world = _world(Border())
    world.settle()
    world.defaults = replace(DEFAULTS, border=Border(is_shared=True))
    world.change(delivery={"retryTiers": ["10s", "2m"]})
    world.settle()
    assert world.condition("Ready")[0] == "True"
    assert "mails.retry.2m" in world.topics


def test_a_name_that_is_not_allowed_is_kept_from_nobody() -> None:
    defaults = replace(DEFAULTS, border=Border(is_shared=True))
    claims = Claims()
    keys = {}
    for namespace in ("forum", "shop"):
        body = World(spec=spec(topic={"name": "shop.codes"})).body
        body["metadata"] |= {"namespace": namespace, "uid": namespace}
        keys[namespace] = Key("MailTopic", namespace, "mails")
        claims.put(keys[namespace], body, defaults)
    assert claims.against(keys["shop"]) == ()


# -- origins


def test_topics_are_claimed_in_the_status_before_they_are_made() -> None:
    world = World()
    first, *rest = world.plan().actions
    assert isinstance(first, ClaimTopics)
    assert {type(each) for each in rest} == {CreateTopic}
    world.do(first)
    assert {t["origin"] for t in world.status["topics"]} == {"Creating"}
    assert kinds(world.plan().actions) == ["CreateTopic"] * 6, "claimed once"
    world.settle()
    assert {t["origin"] for t in world.status["topics"]} == {"Created"}


@pytest.mark.parametrize("done", range(8))
def test_after_a_crash_at_any_action_the_topics_are_its_own(done: int) -> None:
    world = World(spec=spec(deletionPolicy="Delete"))
    world.round(actions=done)
    world.settle()
    assert {t["origin"] for t in world.status["topics"]} == {"Created"}
    assert _gone(world).topics == {}


def test_a_topic_that_another_made_after_the_claim_is_not_taken() -> None:
    world = World(spec=spec(deletionPolicy="Delete"))
    world.round(actions=2)  # the finalizer and the claim
    world.put_topic("mails", 3, 3, {"retention.ms": "-1"})
    world.settle()
    assert world.condition("TopicsReady") == ("False", "TopicExists")
    assert "mails" not in {t["name"] for t in world.status["topics"]}
    assert "mails" in _gone(world).topics


@pytest.mark.parametrize("kind", [ProblemKind.INVALID, ProblemKind.NOT_AUTHORISED])
def test_a_claim_ends_where_kafka_refuses_to_make_the_topic(kind: ProblemKind) -> None:
    world = World(spec=spec(deletionPolicy="Delete", topic={"config": {"segment.ms": "never"}}))
    world.round(actions=2)
    world.failures = (Failure("mails", kind, "so it is"),)
    made = world.plan()
    assert made.status is not None
    assert "mails" not in {t["name"] for t in made.status.status["topics"]}
    world.round(actions=0)
    world.status, world.failures = dict(made.status.status), ()
    # Its owner makes it; the author learns how, and asks for the same.
    world.put_topic("mails", 6, 3, {"retention.ms": "604800000", "max.message.bytes": "4194304"})
    world.change(topic={"config": {}})
    world.settle()
    assert world.condition("TopicsReady") == ("False", "TopicExists")
    assert "mails" in _gone(world).topics


def test_a_topic_that_another_made_again_is_kept_up_and_never_deleted() -> None:
    world = World(spec=spec(deletionPolicy="Delete"))
    world.settle()
    world.put_topic("mails", 6, 3, world.topic("mails").config)
    world.settle()
    assert world.condition("Ready")[0] == "True"
    assert set(_gone(world).topics) == {"mails"}
    assert world.reasons()[-1] == "TopicsRetained"


def test_a_lost_topic_that_the_operator_makes_again_is_its_own() -> None:
    world = World(spec=spec(deletionPolicy="Delete"))
    world.settle()
    del world.topics["mails.dlq"]
    world.settle()
    assert {t["origin"] for t in world.status["topics"]} == {"Created"}
    assert _gone(world).topics == {}


def test_an_adopted_topic_that_is_not_to_be_seen_for_a_while_stays_adopted() -> None:
    world = World(**ADOPTING)
    world.change(deletionPolicy="Delete")
    world.put_topic("mails", 6)
    world.settle()
    hidden = world.topics.pop("mails")
    world.round(actions=1)  # the claim
    world.topics["mails"] = hidden
    world.settle()
    assert set(_gone(world).topics) == {"mails"}


def test_topics_from_before_origins_were_recorded_are_kept_up_and_never_deleted() -> None:
    world = World(spec=spec(deletionPolicy="Delete"))
    world.settle()
    for topic in world.status["topics"]:
        del topic["origin"]
    topics = set(world.topics)
    world.change(topic={"retention": "24h"})
    world.settle()
    assert world.topic("mails").config["retention.ms"] == str(24 * 3_600_000)
    assert world.condition("Ready")[0] == "True"
    assert set(_gone(world).topics) == topics
    assert "so they stay: mails," in world.events[-1].message


def test_with_its_namespace_only_what_was_made_here_goes() -> None:
    world = World(**ADOPTING)
    world.change(deletionPolicy="Delete")
    world.put_topic("mails", 6)
    world.settle()
    world.is_namespace_terminating = True
    world.round()
    world.round()
    assert set(world.topics) == {"mails"}
    assert world.reasons()[-1] == "TopicsRetained"


# -- pods

ATTACKS: Mapping[str, Mapping[str, Any]] = {
    "spec.hostPID": {"hostPID": True},
    "spec.hostNetwork": {"hostNetwork": True},
    "spec.serviceAccountName": {"serviceAccountName": "admin"},
    "spec.automountServiceAccountToken": {"automountServiceAccountToken": True},
    "spec.volumes": {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]},
    "spec.nodeName": {"nodeName": "control-plane"},
    "spec.hostAliases": {"hostAliases": [{"ip": "192.0.2.1", "hostnames": ["kafka"]}]},
    "spec.dnsConfig": {"dnsConfig": {"nameservers": ["192.0.2.1"]}},
    "spec.imagePullSecrets": {"imagePullSecrets": [{"name": "other"}]},
    "spec.initContainers": {"initContainers": [{"name": "first", "image": "evil"}]},
    "spec.securityContext": {"securityContext": None},
    "spec.securityContext.runAsUser": {"securityContext": {"runAsUser": 0}},
    "spec.securityContext.runAsNonRoot": {"securityContext": {"runAsNonRoot": False}},
    "spec.securityContext.sysctls": {"securityContext": {"sysctls": []}},
    "spec.securityContext.seccompProfile.type": {
        "securityContext": {"seccompProfile": {"type": "Unconfined"}}
    },
}
IN_CONTAINER: Mapping[str, Mapping[str, Any]] = {
    "spec.containers": {"name": "beside", "image": "evil"},
    "spec.containers.image": {"image": "evil"},
    "spec.containers.command": {"command": ["sh"]},
    "spec.containers.lifecycle": {"lifecycle": {"postStart": {"exec": {"command": ["sh"]}}}},
    "spec.containers.envFrom": {"envFrom": [{"secretRef": {"name": "other"}}]},
    "spec.containers.livenessProbe": {"livenessProbe": {"exec": {"command": ["sh"]}}},
    "spec.containers.volumeMounts": {"volumeMounts": [{"name": "x", "mountPath": "/x"}]},
    "spec.containers.securityContext.privileged": {"securityContext": {"privileged": True}},
    "spec.containers.securityContext.runAsNonRoot": {"securityContext": {"runAsNonRoot": None}},
    "spec.containers.securityContext.capabilities": {"securityContext": {"capabilities": None}},
    "spec.containers.securityContext.capabilities.add": {
        "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}
    },
    "spec.containers.securityContext.capabilities.drop": {
        "securityContext": {"capabilities": {"drop": []}}
    },
}
VARIABLES = (
    {"name": "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS", "value": "192.0.2.1:9092"},
    {"name": "LD_PRELOAD", "value": "/x.so"},
    {"name": "TZ", "valueFrom": {"secretKeyRef": {"name": "other", "key": "password"}}},
    {"name": "TZ", "value": "UTC", "valueFrom": {}},
    {"name": ["TZ"], "value": "UTC"},
)


def _templates() -> list[Any]:
    cases = [pytest.param({"spec": part}, path, id=path) for path, part in ATTACKS.items()]
    for path, part in IN_CONTAINER.items():
        template = {"spec": {"containers": [{"name": "sender", **part}]}}
        cases.append(pytest.param(template, path, id=path))
    for variable in VARIABLES:
        template = {"spec": {"containers": [{"name": "sender", "env": [variable]}]}}
        cases.append(pytest.param(template, "spec.containers.env", id=str(variable["name"])))
    unconfined = {"container.apparmor.security.beta.kubernetes.io/sender": "unconfined"}
    cases.append(
        pytest.param({"metadata": {"annotations": unconfined}}, "metadata.annotations", id="marks")
    )
    cases += [
        pytest.param({part: None}, part, id=f"no {part}") for part in ("metadata", "spec", "x")
    ]
    return cases


@pytest.mark.parametrize(("template", "path"), _templates())
def test_a_pod_gets_no_more_rights_than_the_operators_own(
    template: dict[str, Any], path: str
) -> None:
    world = World(spec=spec(consumers={"podTemplate": template}))
    world.settle()
    assert world.children == {}
    assert world.condition("SendersReady") == ("False", "PodTemplateNotAllowed")
    assert world.condition("Stalled") == ("True", "PodTemplateNotAllowed")
    assert f"may not set {path} so" in world.message("Ready")


@pytest.mark.parametrize(("template", "path"), _templates())
def test_the_operators_own_setting_allows_more(template: dict[str, Any], path: str) -> None:
    world = _world(Border(pod_fields=(path,)), consumers={"podTemplate": template})
    assert refused_fields(world.desired) == ()
    world = _world(Border(pod_fields=("*",)), consumers={"podTemplate": template})
    assert refused_fields(world.desired) == ()


def test_a_field_that_the_setting_names_is_allowed_and_no_other() -> None:
    scratch = {"volumes": [{"name": "scratch", "emptyDir": {}}]}
    border = Border(pod_fields=("spec.volumes",))
    world = _world(border, consumers={"podTemplate": {"spec": scratch}})
    world.settle()
    assert world.condition("Ready")[0] == "True"
    world.change(consumers={"podTemplate": {"spec": {**scratch, "hostIPC": True}}})
    world.settle()
    assert world.condition("SendersReady") == ("False", "PodTemplateNotAllowed")


def test_what_widens_nothing_is_merged() -> None:
    container = {
        "name": "sender",
        "env": [{"name": "MAILTOPIC_LOG__LEVEL", "value": "debug"}],
        "resources": {"limits": {"memory": "512Mi"}},
        "securityContext": {"runAsUser": 1234, "capabilities": {"drop": ["ALL"]}},
    }
    template = {
        "metadata": {"labels": {"team": "shop"}, "annotations": {"example.com/a": "b"}},
        "spec": {
            "nodeSelector": {"pool": "mail"},
            "tolerations": [{"key": "mail", "operator": "Exists"}],
            "priorityClassName": "high",
            "securityContext": {"runAsUser": None, "fsGroup": 4321},
            "containers": [container],
        },
    }
    world = World(spec=spec(consumers={"podTemplate": template}))
    world.settle()
    assert world.condition("Ready")[0] == "True"
    pod = world.deployment["spec"]["template"]
    assert pod["metadata"]["labels"]["team"] == "shop"
    assert pod["spec"]["securityContext"]["fsGroup"] == 4321
    assert pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_senders_that_run_go_on_where_their_template_is_not_allowed_any_more() -> None:
    template: dict[str, Any] = {"spec": {"hostAliases": []}}
    world = _world(Border(pod_fields=("*",)), consumers={"podTemplate": template})
    world.settle()
    before = dict(world.children)
    world.defaults = DEFAULTS
    world.settle()
    assert world.children == before
    assert world.condition("SendersReady") == ("False", "PodTemplateNotAllowed")


# -- Secrets

_LOGIN = {**RELAY, "credentialsSecretRef": {"name": "any", "usernameKey": "a", "passwordKey": "b"}}


@pytest.mark.parametrize("use", ["", "sealing", "dkim", "ca", "true"])
def test_a_secret_that_is_not_released_reaches_no_relay(use: str) -> None:
    secret = DataObject("1", frozenset({"a", "b"}), use)
    world = World(spec=spec(relays=[_LOGIN]), secrets={"any": secret})
    world.settle()
    assert world.children == {}
    assert world.condition("CredentialsValid") == ("False", "SecretNotAllowed")
    assert "kubectl -n shop label secret any mailtopic.dev/use=relay" in world.message("Ready")


@pytest.mark.parametrize("names", [("any",), ("*",)])
def test_a_secret_is_released_by_its_label_or_by_the_setting(names: tuple[str, ...]) -> None:
    bare = DataObject("1", frozenset({"a", "b"}))
    world = _world(Border(secrets=names), relays=[_LOGIN])
    world.secrets["any"] = bare
    world.settle()
    assert world.condition("Ready")[0] == "True"
    world = World(spec=spec(relays=[_LOGIN]), secrets={"any": replace(bare, use="relay")})
    world.settle()
    assert world.condition("Ready")[0] == "True"


def test_senders_that_run_go_on_when_an_upgrade_begins_to_ask_for_labels() -> None:
    world = _world(Border(secrets=("*",)), relays=[_LOGIN])
    world.secrets["any"] = DataObject("1", frozenset({"a", "b"}))
    world.settle()
    before = dict(world.children)
    world.defaults = DEFAULTS
    world.settle()
    assert world.children == before
    assert world.condition("CredentialsValid") == ("False", "SecretNotAllowed")


def test_a_login_whose_two_parts_lie_under_one_key_has_two_files() -> None:
    ref = {"name": "any", "usernameKey": "a", "passwordKey": "a"}
    world = World(spec=spec(relays=[{**RELAY, "credentialsSecretRef": ref}]))
    world.secrets["any"] = DataObject("1", frozenset({"a"}), "relay")
    world.settle()
    (volume,) = world.deployment["spec"]["template"]["spec"]["volumes"]
    items = volume["projected"]["sources"][0]["secret"]["items"]
    assert [item["path"] for item in items] == ["ses/username", "ses/password"]
