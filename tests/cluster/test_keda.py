"""A real KEDA scales the senders of a MailTopic: none, as many as there is work for, none."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from localcluster.client import ClusterClient
from support.kube_crds import crds_as_before
from support.kube_keda import NAMESPACE, keda
from support.kube_mailtopics import CRDS, MailTopics, seconds_until
from support.kube_release import RESTRICTED, Release

Figure = Callable[[str], None]

pytestmark = [pytest.mark.guarantees, pytest.mark.timeout(900, func_only=True)]

_NAME = "codes"
_SENDERS = f"deployment/{_NAME}-sender"
_MOST = 3
_RATE_PER_S = 12
# 6 mails/s are all that the relay takes, and a sender counts for 2: three are of use.
_RELAY = {
    "name": "inbox",
    "host": "mailtopic-inbox",
    "port": 1025,
    "security": "StartTLS",
    "caSecretRef": {"name": "mailtopic-inbox-tls"},
    "rateLimit": "6/s",
}
_SCALING = {
    "provider": "KEDA",
    "minReplicas": 0,
    "targetLagSeconds": 10,
    "mailsPerSecondPerSender": 2,
}


@pytest.fixture(scope="module")
def mailtopics(cluster: ClusterClient, images: None) -> Iterator[MailTopics]:
    """A release whose Kafka wants TLS and a login from everybody, and lets KEDA in."""
    del images
    peer = "kafka.networkPolicy.clients[0].namespaceSelector.matchLabels"
    with crds_as_before(cluster), cluster.namespace("scaled", **RESTRICTED) as namespace:
        release = Release(cluster, namespace)
        Release(cluster, namespace, chart=CRDS, name="mailtopic-crds").run(
            "install", str(CRDS), "--take-ownership"
        )
        release.put(
            "install",
            "--set=sender.enabled=false",
            f"--set=global.mailtopic.topic={_NAME}",
            "--set=operator.reconcile.resyncS=10",
            rf"--set={peer}.kubernetes\.io/metadata\.name={NAMESPACE}",
            files=("local", "secured"),
        )
        yield MailTopics(release)
        cluster.kubectl("delete", "namespace", namespace, "--timeout=90s", timeout_s=120)


def test_keda_scales_senders_from_none_to_as_many_as_are_of_use_and_back_to_none(
    cluster: ClusterClient, mailtopics: MailTopics, figure: Figure
) -> None:
    mailtopics.apply(
        _NAME, relays=[_RELAY], consumers={"autoscaling": _SCALING}, delivery={"maxAge": "30m"}
    )
    _is(mailtopics, "SendersReady", "AutoscalerMissing")
    began_s = time.monotonic()
    with keda(cluster), _taken_away(mailtopics):
        figure(f"KEDA installed and serving {time.monotonic() - began_s:.1f} s")
        took_s = seconds_until(
            cluster,
            lambda: mailtopics.condition(_NAME, "Ready")[0] == "True",
            "the MailTopic has found KEDA",
            timeout_s=150,
        )
        figure(f"a KEDA that came later is used after {took_s:.1f} s")
        _scaled_object_is_ready(mailtopics)
        figure(f"without mails no sender runs after {_until_senders(mailtopics, 0):.1f} s")
        _is(mailtopics, "SendersReady", "ScaledToZero")

        load = mailtopics.release.load("load", rate_per_s=_RATE_PER_S)
        load.wait_until_started()
        began_s = time.monotonic()
        _until_one_delivers(mailtopics)
        first_s = time.monotonic() - began_s
        _until_senders(mailtopics, _MOST)
        figure(
            f"mails come: a sender runs after {first_s:.1f} s,"
            f" {_MOST} after {time.monotonic() - began_s:.1f} s"
        )
        result = load.end(timeout_s=600)
        figure(f"all senders, relay of 6/s: {result}")
        assert result["lost"] == 0
        assert result["accepted"] == result["asked"]
        figure(f"all mails delivered: no sender runs after {_until_senders(mailtopics, 0):.1f} s")
        _edited_scaled_object_is_put_back(mailtopics, figure)


@contextmanager
def _taken_away(mailtopics: MailTopics) -> Iterator[None]:
    """Delete the MailTopic while KEDA is there, which alone can let go of its ScaledObject."""
    try:
        yield
    finally:
        mailtopics.kubectl("delete", f"mailtopic/{_NAME}", "--timeout=60s")
        mailtopics.cluster.until(
            lambda: not mailtopics.exists(f"scaledobject/{_NAME}-sender"),
            "the ScaledObject has gone with its MailTopic",
        )


def _is(mailtopics: MailTopics, kind: str, reason: str) -> None:
    mailtopics.cluster.until(
        lambda: mailtopics.condition(_NAME, kind)[1] == reason, f"{kind} is {reason}"
    )


def _scaled_object_is_ready(mailtopics: MailTopics) -> None:
    what = f"scaledobject/{_NAME}-sender"
    mailtopics.cluster.wait(
        what, "condition=Ready", namespace=mailtopics.release.namespace, timeout_s=90
    )
    assert mailtopics.get(what)["spec"]["maxReplicaCount"] == _MOST


def _until_one_delivers(mailtopics: MailTopics) -> None:
    # The next ones may be on their way before the first is ready: no exact number here.
    seconds_until(
        mailtopics.cluster,
        lambda: mailtopics.get(_SENDERS)["status"].get("availableReplicas", 0) > 0,
        "a sender runs",
        timeout_s=120,
    )


def _until_senders(mailtopics: MailTopics, number: int) -> float:
    """Return after how many seconds so many senders are ready, and no others are there."""

    def is_reached() -> bool:
        status = mailtopics.get(_SENDERS)["status"]
        counts = {status.get("replicas", 0), status.get("availableReplicas", 0)}
        return counts == {number}

    return seconds_until(mailtopics.cluster, is_reached, f"{number} senders run", timeout_s=360)


def _edited_scaled_object_is_put_back(mailtopics: MailTopics, figure: Figure) -> None:
    what = f"scaledobject/{_NAME}-sender"
    mailtopics.kubectl(
        *("patch", what, "--type=merge", '--patch={"spec": {"maxReplicaCount": 50}}')
    )
    took_s = seconds_until(
        mailtopics.cluster,
        lambda: mailtopics.get(what)["spec"]["maxReplicaCount"] == _MOST,
        "the ScaledObject is put back",
    )
    figure(f"an edited ScaledObject put back after {took_s:.1f} s")
