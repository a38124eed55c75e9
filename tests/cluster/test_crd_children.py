"""Children on a real API server: applied once they stand still, and hand edits are put back."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mailtopic_operator.domain.children import is_ours, wanted_children
from mailtopic_operator.domain.children.common import MANAGER
from mailtopic_operator.domain.defaults import (
    Border,
    KafkaAccess,
    OperatorDefaults,
    SecretKey,
    SenderDefaults,
)
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.drift import difference, removals
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.domain.replay_job import replay_job
from mailtopic_operator.domain.replays import DesiredReplay
from support.api_server import ApiServer, running_api_server
from support.mailtopic_world import World, spec

DEFAULTS = OperatorDefaults(
    kafka=KafkaAccess(
        "kafka-0.kafka:9092,kafka-1.kafka:9093",
        security_protocol="SASL_SSL",
        username="sender",
        password=SecretKey("kafka-user-sender", "password"),
        ca=SecretKey("kafka-ca", "ca.crt"),
    ),
    sender=SenderDefaults(image_pull_secrets=("registry",)),
    border=Border(pod_fields=("*",)),
)
FULL = spec(
    topic={"partitions": 3, "replicationFactor": 1},
    relays=[
        {
            "name": "ses",
            "host": "smtp.example.net",
            "credentialsSecretRef": {"name": "login"},
            "caSecretRef": {"name": "ca"},
            "rateLimit": "14/s",
        },
        {"name": "backup", "host": "192.0.2.1", "port": 465},
    ],
    template={"configMapRef": {"name": "templates"}},
    sealing={"keysSecretRef": {"name": "keys"}},
    consumers={
        "replicas": 3,
        # Amounts that the API server writes in another way.
        "resources": {"requests": {"cpu": "0.5", "memory": "131072Ki"}, "limits": {"cpu": "1000m"}},
        "podTemplate": {
            "metadata": {"labels": {"team": "shop"}},
            "spec": {
                "tolerations": [{"key": "mail", "operator": "Exists"}],
                "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1024Mi"}}],
                "containers": [
                    {"name": "sender", "env": [{"name": "TZ", "value": "UTC"}]},
                    {"name": "beside", "image": "example/beside:1"},
                ],
            },
        },
    },
)


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    for server in running_api_server(tmp_path_factory.mktemp("api"), "cluster"):
        server.kubectl("create", "namespace", "shop")
        yield server


@pytest.fixture(params=[spec(), FULL], ids=["minimal", "full"])
def desired(request: pytest.FixtureRequest) -> Desired:
    return World(spec=request.param, defaults=DEFAULTS).desired


def _apply(server: ApiServer, manifest: dict[str, Any]) -> None:
    options = ("--server-side", "--force-conflicts", f"--field-manager={MANAGER}", "-f", "-")
    server.kubectl("apply", *options, stdin=json.dumps(manifest))


def _live(server: ApiServer, manifest: dict[str, Any]) -> dict[str, Any]:
    metadata = manifest["metadata"]
    where = ("-n", metadata["namespace"], "--show-managed-fields")
    return server.get(f"{manifest['kind'].lower()}/{metadata['name']}", *where)


def _children(desired: Desired) -> list[dict[str, Any]]:
    return [dict(manifest) for manifest in wanted_children(desired, Observed(topics={}))]


def test_a_child_that_was_applied_stands_still(api_server: ApiServer, desired: Desired) -> None:
    for manifest in _children(desired):
        _apply(api_server, manifest)
        live = _live(api_server, manifest)
        assert difference(manifest, live) is None, manifest["kind"]
        assert removals(manifest, live) == (), manifest["kind"]
        assert is_ours(live, desired.meta)
        _apply(api_server, manifest)
        again = _live(api_server, manifest)
        assert again["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]


EDITS: dict[str, tuple[str, dict[str, Any]]] = {
    "another image": (
        "strategic",
        {"spec": {"template": {"spec": {"containers": [{"name": "sender", "image": "evil"}]}}}},
    ),
    "another number": ("merge", {"spec": {"replicas": 7}}),
    "an env variable more": (
        "strategic",
        {
            "spec": {
                "template": {
                    "spec": {
                        "containers": [{"name": "sender", "env": [{"name": "X", "value": "1"}]}]
                    }
                }
            }
        },
    ),
    "a container more": (
        "strategic",
        {"spec": {"template": {"spec": {"containers": [{"name": "y", "image": "y"}]}}}},
    ),
    "a field that was not set": ("merge", {"spec": {"template": {"spec": {"hostNetwork": True}}}}),
    "a default that was changed": ("merge", {"spec": {"progressDeadlineSeconds": 30}}),
    "a paused rollout": ("merge", {"spec": {"paused": True}}),
    "a pod label more": (
        "merge",
        {"spec": {"template": {"metadata": {"labels": {"a/b": "d"}}}}},
    ),
    "another list of capabilities": (
        "strategic",
        {
            "spec": {
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "name": "sender",
                                "securityContext": {"capabilities": {"drop": ["NET_RAW"]}},
                            }
                        ]
                    }
                }
            }
        },
    ),
    "no owner": ("merge", {"metadata": {"ownerReferences": None}}),
    "no label": ("merge", {"metadata": {"labels": {"mailtopic.dev/mailtopic": None}}}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_hand_edit_is_put_back(api_server: ApiServer, desired: Desired, edit: str) -> None:
    manifest = next(child for child in _children(desired) if child["kind"] == "Deployment")
    _apply(api_server, manifest)
    before = _live(api_server, manifest)
    kind, patch = EDITS[edit]
    _patch(api_server, manifest, kind, patch)
    edited = _live(api_server, manifest)
    found = difference(manifest, edited), removals(manifest, edited)
    assert found != (None, ()), "the edit was not noticed"
    assert is_ours(edited, desired.meta)
    if found[1]:
        options = ("--type=json", f"--field-manager={MANAGER}")
        _patch(api_server, manifest, "json", list(found[1]), *options[1:])
    if found[0]:
        _apply(api_server, manifest)
    after = _live(api_server, manifest)
    assert (difference(manifest, after), removals(manifest, after)) == (None, ())
    assert after["spec"] == before["spec"]


def _patch(
    server: ApiServer, manifest: dict[str, Any], kind: str, patch: object, *options: str
) -> None:
    name = f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"
    text = json.dumps(patch)
    server.kubectl("patch", name, "-n", "shop", f"--type={kind}", f"--patch={text}", *options)


def test_a_rule_added_to_a_network_policy_is_put_back(api_server: ApiServer) -> None:
    world = World(spec=FULL, defaults=DEFAULTS)
    manifest = next(c for c in _children(world.desired) if c["kind"] == "NetworkPolicy")
    _apply(api_server, manifest)
    added = [{"op": "add", "path": "/spec/egress/-", "value": {}}]
    _patch(api_server, manifest, "json", added)
    assert difference(manifest, _live(api_server, manifest)) == "drift"
    _apply(api_server, manifest)
    assert difference(manifest, _live(api_server, manifest)) is None


def test_a_restart_by_kubectl_is_left_alone(api_server: ApiServer) -> None:
    world = World(spec=FULL, defaults=DEFAULTS)
    manifest = next(c for c in _children(world.desired) if c["kind"] == "Deployment")
    _apply(api_server, manifest)
    name = f"deployment/{manifest['metadata']['name']}"
    api_server.kubectl("rollout", "restart", name, "-n", "shop")
    live = _live(api_server, manifest)
    annotations = live["spec"]["template"]["metadata"]["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in annotations
    assert (difference(manifest, live), removals(manifest, live)) == (None, ())


def test_the_job_of_a_replay_is_taken_as_it_is(api_server: ApiServer) -> None:
    topic = World(spec=FULL, defaults=DEFAULTS).desired
    spec = {"mailTopicRef": {"name": "mails"}, "ratePerSecond": 5, "dryRun": True}
    metadata = {
        "namespace": "shop",
        "name": "again",
        "uid": "u",
        "creationTimestamp": "2026-11-25T11:00:00Z",
    }
    replay = DesiredReplay.parse({"metadata": metadata, "spec": spec}, topic)
    manifest = replay_job(replay, topic)
    _apply(api_server, manifest)
    live = _live(api_server, manifest)
    (container,) = live["spec"]["template"]["spec"]["containers"]
    assert container["args"][-1] == "--dry-run"
    assert live["metadata"]["ownerReferences"][0]["kind"] == "MailReplay"
