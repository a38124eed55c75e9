"""What is planned for the senders, and what is said of them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailtopic_operator.domain.actions import ApplyChild, DeleteChild, write_id
from mailtopic_operator.domain.children.family import APPLIED, deployment_ref
from mailtopic_operator.domain.defaults import Border, KafkaAccess, OperatorDefaults, SecretKey
from mailtopic_operator.domain.drift import as_admitted
from mailtopic_operator.domain.kafka import TopicState
from mailtopic_operator.domain.observed import (
    Admitted,
    Claimant,
    DataObject,
    Failure,
    KubeProblemKind,
    Lag,
    RelayHealth,
)
from support.mailtopic_world import ADOPTING, DEFAULTS, RELAY, START, World, kinds, merged, spec

LOGIN = DataObject("1", frozenset({"username", "password"}), "relay")
KEDA = frozenset({"ScaledObject"})


@pytest.fixture
def settled() -> World:
    world = World()
    world.settle()
    world.events.clear()
    world.done.clear()
    return world


def _container(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def _env(world: World) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in _container(world)["env"]}


def _with_login(**relay: Any) -> dict[str, Any]:
    return spec(relays=[{**RELAY, "credentialsSecretRef": {"name": "login"}, **relay}])


def test_the_senders_are_told_all_that_the_spec_says() -> None:
    world = World(spec=spec(delivery={"maxAge": "10m", "retryTiers": ["10s", "5m"]}))
    world.settle()
    env = _env(world)
    assert env["MAILTOPIC_TOPIC"] == "mails"
    assert env["MAILTOPIC_FROM__ADDRESS"] == "noreply@example.net"
    assert env["MAILTOPIC_DELIVERY__MAX_AGE_S"] == "600"
    assert env["MAILTOPIC_DELIVERY__RETRY_TIERS"] == "10s,5m"
    assert json.loads(env["MAILTOPIC_RELAYS"]) == [
        {"name": "ses", "host": "smtp.example.net", "port": 587, "max_connections": 10}
    ]
    assert "" not in env.values()


def test_without_a_secret_no_sender_starts_and_the_field_is_named() -> None:
    world = World(spec=_with_login())
    world.settle()
    assert "Deployment" not in {ref.kind for ref in world.children}
    assert world.condition("CredentialsValid") == ("False", "SecretNotFound")
    assert world.condition("Ready") == ("False", "SecretNotFound")
    assert world.condition("Stalled")[0] == "False"
    assert "relay ses: credentialsSecretRef: Secret login is not in" in world.message("Ready")
    assert world.reasons().count("SecretNotFound") == 1
    world.secrets["login"] = LOGIN
    world.settle()
    assert world.condition("Ready") == ("True", "Delivering")


def test_a_secret_without_the_key_is_told_of() -> None:
    world = World(
        spec=_with_login(), secrets={"login": DataObject("1", frozenset({"user"}), "relay")}
    )
    world.settle()
    assert world.condition("CredentialsValid") == ("False", "SecretKeyNotFound")
    assert "has no key username" in world.message("CredentialsValid")


def test_a_secret_that_goes_leaves_running_senders_alone() -> None:
    world = World(spec=_with_login(), secrets={"login": LOGIN})
    world.settle()
    world.done.clear()
    del world.secrets["login"]
    world.settle()
    assert world.done == []
    assert world.condition("CredentialsValid")[0] == "False"
    assert world.condition("SendersReady") == ("True", "Running")


def test_a_secret_that_changes_rolls_the_senders() -> None:
    world = World(spec=_with_login(), secrets={"login": LOGIN})
    world.settle()
    world.done.clear()
    world.secrets["login"] = DataObject("2", LOGIN.keys, "relay")
    world.settle()
    assert kinds(world.done) == ["ApplyChild"]


def test_templates_that_change_roll_the_senders() -> None:
    world = World(spec=spec(template={"configMapRef": {"name": "words"}}))
    world.settle()
    assert world.condition("CredentialsValid") == ("False", "ConfigMapNotFound")
    world.config_maps["words"] = DataObject("1", frozenset({"signup.ru.text"}))
    world.settle()
    assert _env(world)["MAILTOPIC_TEMPLATE__DIRECTORY"] == "/etc/mailtopic/templates"
    world.done.clear()
    world.config_maps["words"] = DataObject("2", frozenset({"signup.ru.text"}))
    world.settle()
    assert kinds(world.done) == ["ApplyChild"]


def test_the_brokers_secrets_are_needed_in_the_namespace_as_well() -> None:
    kafka = KafkaAccess(
        "kafka:9093",
        security_protocol="SASL_SSL",
        username="sender",
        password=SecretKey("kafka-user", "password"),
        ca=SecretKey("kafka-ca", "ca.crt"),
    )
    world = World(defaults=OperatorDefaults(kafka=kafka))
    world.settle()
    assert "Secret kafka-user is not in namespace shop" in world.message("Ready")
    world.secrets |= {
        "kafka-user": DataObject("1", frozenset({"password"})),
        "kafka-ca": DataObject("1", frozenset({"ca.crt"})),
    }
    world.settle()
    assert _env(world)["MAILTOPIC_KAFKA__PASSWORD_FILE"] == "/etc/mailtopic/kafka/password"
    assert world.condition("Ready")[0] == "True"


def test_a_child_changed_by_hand_is_put_back_and_told(settled: World) -> None:
    _container(settled)["image"] = "example/other:1"
    settled.round()
    assert kinds(settled.done) == ["ApplyChild"]
    assert settled.reasons() == ["DriftCorrected"]
    assert _container(settled)["image"] == "mailtopic/sender:0.1.0"


def test_a_child_deleted_by_hand_is_made_again(settled: World) -> None:
    ref = next(ref for ref in settled.children if ref.kind == "PodDisruptionBudget")
    del settled.children[ref]
    settled.settle()
    assert ref in settled.children


def test_an_object_of_somebody_else_is_not_taken_over() -> None:
    world = World()
    world.round()
    stranger = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "mails-sender"}}
    world.put_child({**stranger, "spec": {"replicas": 1}})
    world.settle()
    assert world.deployment["spec"] == {"replicas": 1}
    assert world.condition("SendersReady") == ("False", "NameTaken")
    assert world.condition("Stalled") == ("True", "NameTaken")


def test_a_paused_mailtopic_sends_nothing_and_is_ready(settled: World) -> None:
    settled.change(paused=True)
    settled.settle()
    assert settled.deployment["spec"]["replicas"] == 0
    assert settled.condition("Paused") == ("True", "Paused")
    assert settled.condition("Ready") == ("True", "Paused")
    settled.change(paused=False)
    settled.settle()
    assert settled.deployment["spec"]["replicas"] == 2
    assert settled.condition("Paused") == ("False", "Running")


def test_keda_gets_the_senders_with_both_bounds() -> None:
    world = World(apis=KEDA)
    scaling = {"provider": "KEDA", "minReplicas": 0, "targetLagSeconds": 20}
    world.spec = spec(consumers={"autoscaling": scaling})
    world.settle()
    (scaled,) = [c for ref, c in world.children.items() if ref.kind == "ScaledObject"]
    assert (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]) == (0, 6)
    main, *retries = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    assert (main["consumerGroup"], main["topic"], main["lagThreshold"]) == (
        "mails",
        "mails",
        "1000",
    )
    assert {retry["consumerGroup"] for retry in retries} == {"mails.retry"}
    assert [retry["topic"] for retry in retries] == list(world.desired.names.retries)
    assert "replicas" not in world.deployment["spec"]
    world.deployment["spec"]["replicas"] = 4
    world.run_controllers()
    world.done.clear()
    world.settle()
    assert world.done == []
    assert world.status["consumers"]["ready"] == "4/4"


def test_the_relays_quota_bounds_the_senders() -> None:
    world = World(apis=KEDA)
    scaling = {"provider": "KEDA", "mailsPerSecondPerSender": 50}
    relays = [{**RELAY, "rateLimit": "60/s"}, {**RELAY, "name": "b", "rateLimit": "3600/m"}]
    world.spec = spec(consumers={"autoscaling": scaling}, relays=relays)
    world.settle()
    (scaled,) = [c for ref, c in world.children.items() if ref.kind == "ScaledObject"]
    assert scaled["spec"]["maxReplicaCount"] == 3


def test_without_keda_senders_run_and_the_reason_is_told() -> None:
    world = World(spec=spec(consumers={"autoscaling": {"provider": "KEDA", "minReplicas": 0}}))
    world.settle()
    assert world.deployment["spec"]["replicas"] == 1
    assert world.condition("SendersReady") == ("False", "AutoscalerMissing")
    assert "install KEDA, or write" in world.message("Ready")
    world.apis = KEDA
    world.settle()
    assert world.condition("Ready")[0] == "True"


def test_a_scaled_object_goes_when_keda_is_no_longer_wanted() -> None:
    world = World(apis=KEDA, spec=spec(consumers={"autoscaling": {"provider": "KEDA"}}))
    world.settle()
    world.done.clear()
    world.change(consumers={"replicas": 3})
    world.settle()
    assert kinds(world.done) == ["DeleteChild", "ApplyChild"]
    assert isinstance(world.done[0], DeleteChild)
    assert world.deployment["spec"]["replicas"] == 3


def test_a_pod_template_is_merged_by_name() -> None:
    template = {
        "metadata": {"labels": {"team": "shop", "app.kubernetes.io/name": "hijacked"}},
        "spec": {
            "nodeSelector": {"pool": "mail"},
            "terminationGracePeriodSeconds": 90,
            "containers": [
                {"name": "sender", "env": [{"name": "TZ", "value": "UTC"}], "startupProbe": None},
                {"name": "beside", "image": "example/beside:1"},
            ],
        },
    }
    defaults = replace(DEFAULTS, border=Border(pod_fields=("spec.containers",)))
    world = World(spec=spec(consumers={"podTemplate": template}), defaults=defaults)
    world.settle()
    pod = world.deployment["spec"]["template"]
    assert pod["metadata"]["labels"]["team"] == "shop"
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "mailtopic-sender"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 90
    assert [c["name"] for c in pod["spec"]["containers"]] == ["sender", "beside"]
    assert "startupProbe" not in _container(world)
    assert _env(world)["TZ"] == "UTC"
    assert _env(world)["MAILTOPIC_TOPIC"] == "mails"


def test_a_rollout_is_on_its_way_until_all_are_there(settled: World) -> None:
    settled.deployment["status"]["availableReplicas"] = 1
    plan = settled.plan()
    assert plan.status is not None
    settled.status = merged(settled.status, plan.status.patch["status"])
    assert settled.condition("SendersReady") == ("False", "RollingOut")
    assert settled.condition("Reconciling")[0] == "True"
    assert plan.status.events == ()


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({"type": "Progressing", "status": "False", "message": "deadline"}, "RolloutStuck"),
        ({"type": "ReplicaFailure", "status": "True", "message": "quota"}, "PodsRefused"),
    ],
)
def test_a_rollout_that_is_stuck_stalls(
    settled: World, condition: dict[str, str], reason: str
) -> None:
    settled.deployment["status"] |= {"availableReplicas": 0, "conditions": [condition]}
    plan = settled.plan()
    assert plan.status is not None
    assert [event.reason for event in plan.status.events] == [reason]
    assert {c["type"]: c["status"] for c in plan.status.status["conditions"]}["Stalled"] == "True"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(KubeProblemKind.REFUSED, "InvalidObject"), (KubeProblemKind.FORBIDDEN, "Forbidden")],
)
def test_what_the_api_server_refuses_stalls(kind: KubeProblemKind, reason: str) -> None:
    world = World()
    world.round()
    world.failures = (Failure("Deployment/mails-sender", kind, "no"),)
    plan = world.plan()
    assert plan.status is not None
    found = {c["type"]: c for c in plan.status.status["conditions"]}
    assert found["SendersReady"]["reason"] == reason
    assert found["Stalled"]["status"] == "True"


def test_the_oldest_mailtopic_has_a_topic_that_two_want() -> None:
    other = Claimant("other", "mails", "u", START - timedelta(days=9), frozenset({"mails.dlq"}))
    world = World(claimants=(other,))
    world.settle()
    assert world.done == []
    assert world.condition("Ready") == ("False", "TopicConflict")
    assert world.condition("Stalled") == ("True", "TopicConflict")
    assert "topic mails.dlq belongs to MailTopic other/mails" in world.message("Ready")
    assert world.reasons() == ["TopicConflict"]
    world.claimants = ()
    world.settle()
    assert world.condition("Ready")[0] == "True"


def test_a_younger_mailtopic_is_no_obstacle() -> None:
    other = Claimant("other", "mails", "u", START + timedelta(days=9), frozenset({"mails"}))
    world = World(claimants=(other,))
    world.settle()
    assert world.condition("Ready")[0] == "True"


def test_an_unmanaged_mailtopic_is_looked_at_and_left_alone(settled: World) -> None:
    settled.annotations["mailtopic.dev/managed"] = "false"
    settled.deployment["spec"]["replicas"] = 7
    settled.run_controllers()
    settled.settle()
    assert settled.done == []
    assert settled.condition("Paused") == ("True", "Unmanaged")
    assert settled.condition("Reconciling")[0] == "False"


def test_a_dry_run_writes_its_plan_and_does_nothing() -> None:
    world = World(annotations={"mailtopic.dev/dry-run": "true"}, **ADOPTING)
    world.put_topic("mails", 6)
    world.settle()
    assert world.done == []
    assert world.status["plan"][0] == "note in the status that it creates 5 topics"
    assert world.status["plan"][1].startswith("configure topic mails: max.message.bytes=")
    assert "create topic mails.dlq with 6 partitions" in world.status["plan"]
    world.annotations.clear()
    world.settle()
    assert world.status["plan"] == []
    assert world.condition("Ready")[0] == "True"


def test_a_lag_is_written_when_it_changes_much_and_not_each_time(settled: World) -> None:
    def measure(records: int, seconds_later: float) -> bool:
        settled.pass_time(seconds_later)
        settled.lag = Lag(records, None, settled.now)
        return settled.round().status is not None

    assert measure(0, 1)
    assert not measure(0, 600)
    assert measure(1000, 1)
    assert not measure(2000, 30)
    assert measure(2000, 31)
    assert not measure(2100, 600)
    assert measure(0, 1)
    settled.lag = None
    assert settled.plan().is_settled


def test_dead_letters_are_told_of_once(settled: World) -> None:
    settled.dead_letters = 3
    settled.settle()
    settled.dead_letters = 4
    settled.settle()
    assert settled.condition("DeadLetterEmpty") == ("False", "DeadLetters")
    assert settled.reasons() == ["DeadLetters"]
    assert settled.status["deadLetter"] == {"records": 4}
    assert settled.condition("Ready")[0] == "True"


def test_the_status_carries_what_kubectl_scale_needs(settled: World) -> None:
    consumers = settled.status["consumers"]
    assert consumers["replicas"] == 2
    assert consumers["ready"] == "2/2"
    selector = dict(pair.split("=") for pair in consumers["selector"].split(","))
    labels = settled.deployment["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()


def test_a_child_says_what_it_is_applied_for() -> None:
    world = World()
    world.round()
    why = {a.why for a in world.plan().actions if isinstance(a, ApplyChild)}
    assert why == {"missing"}


def test_times_are_written_as_kubernetes_writes_them(settled: World) -> None:
    text = settled.status["conditions"][0]["lastTransitionTime"]
    assert datetime.fromisoformat(text).tzinfo == UTC
    assert text.endswith("Z")


def test_relays_that_are_away_are_told_of_and_do_not_make_it_unready(settled: World) -> None:
    settled.relays = (RelayHealth("ses", is_healthy=False, message="breaker open"),)
    settled.settle()
    assert settled.condition("RelayHealthy") == ("False", "RelayUnavailable")
    assert settled.message("RelayHealthy") == "ses: breaker open"
    assert settled.condition("Ready")[0] == "True"
    settled.relays = (RelayHealth("ses", is_healthy=True),)
    settled.settle()
    assert settled.condition("RelayHealthy") == ("True", "Healthy")
    assert settled.reasons() == ["RelayUnavailable"]


def test_a_dlq_that_can_not_be_counted_is_told_of_as_it_was(settled: World) -> None:
    settled.dead_letters = None
    assert settled.plan().is_settled
    fresh = World(dead_letters=None)
    fresh.settle()
    assert fresh.condition("DeadLetterEmpty") == ("Unknown", "NotMeasured")


def test_an_api_server_that_is_away_is_waited_for() -> None:
    world = World()
    world.round()
    target = "Deployment/mails-sender"
    world.failures = (Failure(target, KubeProblemKind.UNAVAILABLE, "timeout"),)
    plan = world.plan()
    assert plan.status is not None
    found = {c["type"]: c for c in plan.status.status["conditions"]}
    assert found["SendersReady"]["reason"] == "ApiUnavailable"
    assert found["Stalled"]["status"] == "False"


@pytest.mark.parametrize("match", ["(", ".*.*", "x*", "(a+)+b", "a{2,1}"])
def test_a_reply_rule_that_senders_cannot_use_leaves_them_as_they_are(
    settled: World, match: str
) -> None:
    before = settled.deployment
    good = {"match": "no credit", "class": "quota"}
    settled.change(replies={"rules": [good, {"match": match, "class": "quota"}]})
    settled.settle()
    assert settled.condition("SendersReady") == ("False", "InvalidReplyRule")
    assert settled.condition("Stalled") == ("True", "InvalidReplyRule")
    assert "replies.rules[1].match " in settled.message("SendersReady")
    assert settled.deployment == before
    settled.change(replies={"rules": [good]})
    settled.settle()
    assert settled.condition("SendersReady")[0] == "True"
    assert settled.deployment["spec"]["template"] != before["spec"]["template"]


def test_senders_sign_once_every_key_is_there() -> None:
    dkim = {"keysSecretRef": {"name": "dkim"}, "selectors": ["2026a", "2026e"]}
    world = World(spec=spec(dkim=dkim))
    world.secrets["dkim"] = DataObject("1", frozenset({"2026a.pem"}), "dkim")
    world.settle()
    assert world.message("CredentialsValid") == (
        "dkim.keysSecretRef: Secret dkim has no key 2026e.pem"
    )
    world.secrets["dkim"] = DataObject("2", frozenset({"2026a.pem", "2026e.pem"}), "dkim")
    world.settle()
    env = _env(world)
    assert env["MAILTOPIC_DKIM__SELECTORS"] == "2026a,2026e"
    assert env["MAILTOPIC_DKIM__KEYS_DIRECTORY"] == "/etc/mailtopic/dkim"
    assert "MAILTOPIC_DKIM__DOMAIN" not in env


def test_sealing_keys_and_authorities_are_needed() -> None:
    relay = {**RELAY, "caSecretRef": {"name": "ca"}}
    world = World(spec=spec(relays=[relay], sealing={"keysSecretRef": {"name": "keys"}}))
    world.secrets["ca"] = DataObject("1", frozenset({"ca.crt"}), "ca")
    world.settle()
    assert "sealing.keysSecretRef: Secret keys is not" in world.message("CredentialsValid")
    world.secrets["keys"] = DataObject("1", frozenset({"keys.json"}), "sealing")
    world.settle()
    assert _env(world)["MAILTOPIC_SEALING__KEYS_FILE"] == "/etc/mailtopic/sealing/keys.json"


def test_what_admission_changed_is_left_and_other_changes_are_put_back(settled: World) -> None:
    ref, manifest = deployment_ref(settled.desired), dict(settled.deployment)
    requests = _container(settled)["resources"]["requests"]
    requests["cpu"] = "250m"
    stamp = manifest["metadata"]["annotations"][APPLIED]
    settled.admitted[ref] = Admitted(stamp, as_admitted(manifest, settled.deployment))
    settled.settle()
    assert settled.done == []
    requests["cpu"] = "300m"
    settled.round()
    assert kinds(settled.done) == ["ApplyChild"]


def test_a_write_that_is_undone_each_time_is_withheld_for_a_while(settled: World) -> None:
    _container(settled)["image"] = "example/other:1"
    due = settled.plan()
    [action] = due.actions
    settled.held[write_id(action) or ""] = settled.now + timedelta(seconds=60)
    settled.settle()
    assert settled.done == []
    assert settled.condition("SendersReady") == ("False", "Contested")
    assert settled.condition("Stalled")[0] == "True"
    assert "containers[sender].image" in settled.message("Ready")
    assert 0 < (settled.plan().requeue_after_s or 0) <= 60
    settled.pass_time(60)
    settled.settle()
    assert kinds(settled.done) == ["ApplyChild"]
    assert settled.condition("Ready")[0] == "True"


def test_a_topic_that_others_change_each_time_is_reported(settled: World) -> None:
    state = settled.topics["mails"]
    assert isinstance(state, TopicState)
    settled.topics["mails"] = replace(state, config={**state.config, "retention.ms": "1"})
    [action] = settled.plan().actions
    settled.held[write_id(action) or ""] = settled.now + timedelta(seconds=60)
    settled.settle()
    assert settled.condition("TopicsReady") == ("False", "Contested")
