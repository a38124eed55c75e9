"""What a real API server says to MailTopics that can't work: what to write instead."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.api_server import ROOT, ApiServer, running_api_server
from support.invalid_mailtopics import DELETE, FORBIDDEN, INVALID, VALID, Refused, changed

CRDS = ROOT / "k8s" / "base" / "crds"
REPLAY: dict[str, Any] = {
    "apiVersion": "mailtopic.dev/v1alpha1",
    "kind": "MailReplay",
    "metadata": {"name": "again", "namespace": "default"},
    "spec": {"mailTopicRef": {"name": "mails"}, "ratePerSecond": 10},
}


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    for server in running_api_server(tmp_path_factory.mktemp("api"), "cluster"):
        for path in sorted(CRDS.glob("mail*.yaml")):
            server.kubectl("apply", "--server-side", "-f", str(path))
        server.serves_crds()
        server.kubectl("create", "namespace", "samples")
        server.apply(dict(VALID), REPLAY)
        yield server


def _answer(server: ApiServer, verb: str, manifest: dict[str, Any]) -> str:
    text = json.dumps(manifest)
    return server.kubectl(verb, "--dry-run=server", "-f", "-", stdin=text, check=False)


def test_the_table_is_long_enough() -> None:
    assert len(INVALID) + len(FORBIDDEN) >= 40


@pytest.mark.parametrize("case", INVALID, ids=str)
def test_an_invalid_spec_is_refused_with_what_to_write_instead(
    api_server: ApiServer, case: Refused
) -> None:
    manifest = case.manifest()
    if not case.path.startswith("metadata"):
        manifest["metadata"]["name"] = "new"
    answer = _answer(api_server, "create", manifest)
    assert "is invalid" in answer
    assert case.words in answer


@pytest.mark.parametrize("case", FORBIDDEN, ids=str)
def test_a_forbidden_change_is_refused_with_what_to_write_instead(
    api_server: ApiServer, case: Refused
) -> None:
    answer = _answer(api_server, "replace", case.manifest())
    assert "is invalid" in answer
    assert case.words in answer


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec/topic/partitions", 9),
        ("spec/topic/config", {"min.insync.replicas": "2"}),
        ("spec/topic/unmanagedConfig", ["segment.ms"]),
        ("spec/relays/0/host", "2001:db8::25"),
        ("spec/relays/0/rateLimit", "600/m"),
        ("spec/delivery/retryTiers", ["30s", "10m"]),
        ("spec/consumers/podTemplate", {"spec": {"nodeSelector": {"pool": "mail"}}}),
        ("spec/consumers/autoscaling", {"provider": "KEDA", "minReplicas": 0}),
        ("spec/sealing", DELETE),
        ("spec/paused", True),
    ],
)
def test_a_useful_change_is_taken(api_server: ApiServer, path: str, value: Any) -> None:
    answer = _answer(api_server, "replace", changed(VALID, path, value))
    assert "replaced" in answer


def test_security_none_is_taken_beside_allow_insecure(api_server: ApiServer) -> None:
    relay = {"name": "inbox", "host": "inbox", "security": "None", "allowInsecure": True}
    assert "replaced" in _answer(api_server, "replace", changed(VALID, "spec/relays", [relay]))


def test_the_smallest_mailtopic_gets_every_default(api_server: ApiServer) -> None:
    spec = {name: VALID["spec"][name] for name in ("from", "relays")}
    manifest = {**VALID, "metadata": {"name": "small", "namespace": "default"}, "spec": spec}
    api_server.apply(manifest)
    made = api_server.get("mailtopic", "small")["spec"]
    assert made["topic"] == {"adopt": False, "partitions": 6, "retention": "168h"}
    assert made["delivery"]["retryTiers"] == ["10s", "1m", "5m"]
    assert made["relays"][0] | {"port": 587, "maxConnections": 10} == made["relays"][0]
    assert made["deletionPolicy"] == "Retain"


def test_kubectl_scale_sets_the_number_of_senders(api_server: ApiServer) -> None:
    api_server.kubectl("scale", "mailtopic/mails", "--replicas=4")
    assert api_server.get("mailtopic", "mails")["spec"]["consumers"]["replicas"] == 4


def test_kubectl_explain_reads_like_documentation(api_server: ApiServer) -> None:
    text = " ".join(api_server.kubectl("explain", "mailtopic.spec.delivery.onUnknown").split())
    assert "ENUM: Resend Hold" in text
    assert "What happens to a mail if its final reply was lost" in text


def test_every_field_has_a_description() -> None:
    for path in CRDS.glob("mail*.yaml"):
        crd = yaml.safe_load(path.read_text())
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for part in ("spec", "status"):
            assert list(_undescribed(schema["properties"][part], part)) == []


def _undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
    if not schema.get("description"):
        yield path
    for name, below in schema.get("properties", {}).items():
        yield from _undescribed(below, f"{path}.{name}")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("spec/ratePerSecond", 20, "a replay runs once and can't be changed"),
        ("spec/dryRun", True, "a replay runs once and can't be changed"),
        ("spec/filter", {"classes": ["bug"]}, "a replay runs once and can't be changed"),
        ("spec/mailTopicRef/name", "others", "a replay runs once and can't be changed"),
    ],
)
def test_a_replay_can_not_be_changed(
    api_server: ApiServer, path: str, value: Any, words: str
) -> None:
    assert words in _answer(api_server, "replace", changed(REPLAY, path, value))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("metadata/name", "n" * 53, "write a name of at most 52 characters"),
        ("spec", DELETE, "spec: Required value"),
        ("spec/mailTopicRef", DELETE, "mailTopicRef: Required value"),
        ("spec/mailTopicRef/name", DELETE, "mailTopicRef.name: Required value"),
        ("spec/mailTopicRef/name", "", "mailTopicRef.name"),
        ("spec/mailTopicRef/name", "shop/mails", "write the object's name only"),
        ("spec/ratePerSecond", 0, "write 1 to 10000 mails a second"),
        ("spec/ratePerSecond", 10_001, "write 1 to 10000 mails a second"),
        ("spec/ratePerSecond", "5/s", "must be of type integer"),
        ("spec/dryRun", "yes", "must be of type boolean"),
        ("spec/filter/classes", ["Bad Class"], "as `mailtopic dlq list` shows them"),
        ("spec/filter/classes", [""], "filter.classes"),
        ("spec/filter/classes", ["bug"] * 17, "Too many"),
        ("spec/filter/since", "yesterday", "must be of type date-time"),
        ("spec/filter/until", "2026-01-01", "must be of type date-time"),
        (
            "spec/filter",
            {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
            "write a time in filter.until that is after filter.since",
        ),
    ],
)
def test_an_invalid_replay_is_refused_with_what_to_write_instead(
    api_server: ApiServer, path: str, value: Any, words: str
) -> None:
    manifest = changed(REPLAY, path, value)
    if not path.startswith("metadata"):
        manifest["metadata"]["name"] = "new"
    assert words in _answer(api_server, "create", manifest)


def test_the_smallest_replay_gets_every_default(api_server: ApiServer) -> None:
    metadata = {"name": "small", "namespace": "default"}
    spec = {"mailTopicRef": {"name": "mails"}}
    api_server.apply({**REPLAY, "metadata": metadata, "spec": spec})
    assert api_server.get("mailreplay", "small")["spec"] == {**spec, "dryRun": False, "filter": {}}


def test_kubectl_explain_describes_a_replay(api_server: ApiServer) -> None:
    text = " ".join(api_server.kubectl("explain", "mailreplay.spec.ratePerSecond").split())
    assert "The most mails per second that go back to the main topic" in text


def test_the_samples_are_taken(api_server: ApiServer) -> None:
    samples = sorted(Path(ROOT / "k8s" / "samples").glob("*.yaml"))
    assert samples
    for sample in samples:
        found = api_server.kubectl("apply", "--dry-run=server", "-n", "samples", "-f", str(sample))
        assert "created" in found
