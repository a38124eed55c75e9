"""A MailReplay on a real cluster: mails die, the cause is mended, and they arrive after all."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from localcluster.client import ClusterClient
from support.kube_crds import crds_as_before
from support.kube_mailtopics import CRDS, SAMPLE, MailTopics, seconds_until
from support.kube_release import RESTRICTED, Release

Figure = Callable[[str], None]

_NAME = "codes"
_PEOPLE = [f"someone{number}@example.com" for number in range(6)]
_RATE_PER_S = 2
_PRODUCE = Path(__file__).parent / "programs" / "produce_record.py"


@pytest.fixture(scope="module")
def mailtopics(cluster: ClusterClient, images: None) -> Iterator[MailTopics]:
    """The umbrella with the operator; signup seals what it publishes to `codes`."""
    del images
    with crds_as_before(cluster), cluster.namespace("mailreplay", **RESTRICTED) as namespace:
        release = Release(cluster, namespace)
        Release(cluster, namespace, chart=CRDS, name="mailtopic-crds").run(
            "install", str(CRDS), "--take-ownership"
        )
        release.put(
            "install",
            "--set=sender.enabled=false",
            f"--set=global.mailtopic.topic={_NAME}",
            "--set=operator.reconcile.sampleS=1",
        )
        yield MailTopics(release)
        gone = ("--ignore-not-found", "--timeout=90s")
        cluster.kubectl("delete", "namespace", namespace, *gone, timeout_s=120)


def _apply(mailtopics: MailTopics, *, with_key: bool) -> None:
    manifest = yaml.safe_load(SAMPLE.read_text("utf-8"))
    manifest["spec"]["consumers"] = {"replicas": 1}
    if not with_key:
        del manifest["spec"]["sealing"]
    mailtopics.kubectl("apply", "--filename=-", text=json.dumps(manifest))
    mailtopics.wait_until_ready(_NAME)


def _sign_up(mailtopics: MailTopics) -> None:
    signup = f"{mailtopics.release.name}-signup"
    with mailtopics.release.forwarded(signup, 8080) as url, httpx.Client(timeout=30) as http:
        for address in _PEOPLE:
            answer = http.post(f"{url}/v1/signups", json={"email": address, "locale": "en"})
            assert answer.status_code == 202, answer.text


def _inbox(mailtopics: MailTopics) -> list[str]:
    with (
        mailtopics.release.forwarded(f"{mailtopics.release.name}-inbox", 8025) as url,
        httpx.Client(timeout=30) as http,
    ):
        mails = http.get(f"{url}/api/v1/messages").json()["messages"]
    return sorted(mail["To"][0]["Address"] for mail in mails)


def _die(mailtopics: MailTopics) -> None:
    """Let mails, and a record that is none, die of a key that the senders don't have."""
    _apply(mailtopics, with_key=False)
    _sign_up(mailtopics)
    (pod,) = mailtopics.release.pod_names("operator")
    command = ("/app/.venv/bin/python", "-c", _PRODUCE.read_text("utf-8"), _NAME, "no mail")
    mailtopics.cluster.execute(pod, *command, namespace=mailtopics.release.namespace)

    def all_are_dead() -> bool:
        status = mailtopics.get(f"mailtopic/{_NAME}")["status"]
        return bool(status.get("deadLetter", {}).get("records") == len(_PEOPLE) + 1)

    mailtopics.cluster.until(all_are_dead, "every record is dead", timeout_s=60)
    assert mailtopics.condition(_NAME, "DeadLetterEmpty")[1] == "DeadLetters"


def _replay(mailtopics: MailTopics, name: str, **spec: Any) -> dict[str, Any]:
    """Apply a MailReplay, wait as a script would, and return its status."""
    manifest = {
        "apiVersion": "mailtopic.dev/v1alpha1",
        "kind": "MailReplay",
        "metadata": {"name": name},
        "spec": {"mailTopicRef": {"name": _NAME}, **spec},
    }
    mailtopics.kubectl("apply", "--filename=-", text=json.dumps(manifest))
    mailtopics.kubectl("wait", "--for=condition=Complete", f"mailreplay/{name}", "--timeout=60s")
    status: dict[str, Any] = mailtopics.get(f"mailreplay/{name}")["status"]
    return status


def test_dead_letters_are_counted_and_replayed_once_their_cause_is_mended(
    mailtopics: MailTopics, figure: Figure
) -> None:
    _die(mailtopics)
    _apply(mailtopics, with_key=True)
    wanted = {"filter": {"classes": ["poison"]}}
    counts = {"matched": len(_PEOPLE) + 1, "replayed": len(_PEOPLE), "skipped": 1}

    began_s = time.monotonic()
    assert _replay(mailtopics, "count", dryRun=True, **wanted)["progress"] == counts
    figure(f"a dry run from apply to Complete {time.monotonic() - began_s:.1f} s")
    assert _inbox(mailtopics) == []
    none = {"filter": {"classes": ["reputation"]}}
    assert _replay(mailtopics, "others", **none)["progress"]["matched"] == 0

    began_s = time.monotonic()
    assert _replay(mailtopics, "again", ratePerSecond=_RATE_PER_S, **wanted)["progress"] == counts
    took_s = time.monotonic() - began_s
    assert took_s > (len(_PEOPLE) - 1) / _RATE_PER_S
    figure(f"{len(_PEOPLE)} mails at {_RATE_PER_S}/s from apply to Complete {took_s:.1f} s")
    arrived_s = seconds_until(
        mailtopics.cluster,
        lambda: _inbox(mailtopics) == _PEOPLE,
        "every mail is in the inbox, once",
    )
    figure(f"all in the inbox {arrived_s:.1f} s later")

    _deleted_replays_take_their_jobs(mailtopics)
    # Through the NetworkPolicies of the operator and of the senders.
    mailtopics.cluster.until(
        lambda: mailtopics.condition(_NAME, "RelayHealthy")[:2] == ("True", "Healthy"),
        "the operator has heard from senders that the relay takes mails",
        timeout_s=30,
    )


def _deleted_replays_take_their_jobs(mailtopics: MailTopics) -> None:
    assert mailtopics.kubectl("get", "jobs", "--output=name").count("replay") == 3
    mailtopics.kubectl("delete", "mailreplays", "--all", "--timeout=30s")
    mailtopics.cluster.until(
        lambda: "replay" not in mailtopics.kubectl("get", "jobs,pods", "--output=name"),
        "Jobs and pods have gone with their MailReplays",
        timeout_s=60,
    )
