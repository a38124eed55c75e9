"""MailTopics on a real cluster: applied, sent through, edited by hand, scaled, deleted."""

import time
from collections.abc import Callable, Iterator

import pytest

from localcluster.client import ClusterClient
from support.kube_crds import crds_as_before
from support.kube_mailtopics import CRDS, MailTopics, seconds_until
from support.kube_release import RESTRICTED, Release

Figure = Callable[[str], None]

RESYNC_S = 5
_NAME = "codes"


@pytest.fixture(scope="module")
def mailtopics(cluster: ClusterClient, images: None) -> Iterator[MailTopics]:
    """The umbrella with the operator instead of its own senders; signup publishes to `codes`.

    The namespace goes with everything in it, as the last test wants it.
    """
    del images
    with crds_as_before(cluster), cluster.namespace("mailtopic", **RESTRICTED) as namespace:
        release = Release(cluster, namespace)
        Release(cluster, namespace, chart=CRDS, name="mailtopic-crds").run(
            "install", str(CRDS), "--take-ownership"
        )
        release.put(
            "install",
            "--set=sender.enabled=false",
            f"--set=global.mailtopic.topic={_NAME}",
            f"--set=operator.reconcile.resyncS={RESYNC_S}",
        )
        yield MailTopics(release)
        gone = ("--ignore-not-found", "--timeout=90s")
        cluster.kubectl("delete", "namespace", namespace, *gone, timeout_s=120)


def test_an_applied_sample_is_ready_and_a_signup_gets_its_mail(
    mailtopics: MailTopics, figure: Figure
) -> None:
    began_s = time.monotonic()
    mailtopics.apply_sample()
    mailtopics.wait_until_ready(_NAME)
    ready_s = time.monotonic()
    mailtopics.release.sign_up_and_verify("someone@example.com")
    figure(
        f"apply to Ready with two senders {ready_s - began_s:.1f} s,"
        f" then a signup to verified {time.monotonic() - ready_s:.1f} s"
    )
    columns = mailtopics.kubectl("get", "mt", _NAME, "--no-headers").split()
    assert columns[1:4] == [_NAME, "3", "2/2"]
    assert len(mailtopics.senders(_NAME)) == 2


def _put_back(
    mailtopics: MailTopics, figure: Figure, edit: str, changed: Callable[[], object]
) -> None:
    took_s = seconds_until(mailtopics.cluster, changed, f"{edit} is put back")
    figure(f"{edit} put back after {took_s:.2f} s")


def test_what_somebody_edits_is_put_back(mailtopics: MailTopics, figure: Figure) -> None:
    deployment, budget = f"deployment/{_NAME}-sender", f"pdb/{_NAME}-sender"
    before = mailtopics.get(deployment)["spec"]

    mailtopics.kubectl("scale", deployment, "--replicas=0")
    _put_back(
        mailtopics,
        figure,
        "kubectl scale deployment to 0",
        lambda: mailtopics.get(deployment)["spec"]["replicas"] == 2,
    )
    mailtopics.kubectl("set", "env", deployment, "MAILTOPIC_TOPIC=other", "STRAY=1")
    _put_back(
        mailtopics,
        figure,
        "kubectl set env",
        lambda: mailtopics.get(deployment)["spec"] == before,
    )
    uid = mailtopics.get(budget)["metadata"]["uid"]
    mailtopics.kubectl("delete", budget)
    _put_back(
        mailtopics,
        figure,
        "a deleted PodDisruptionBudget",
        lambda: mailtopics.get(budget)["metadata"]["uid"] != uid,
    )
    mailtopics.wait_until_ready(_NAME)


def test_a_topic_config_that_somebody_changed_is_put_back(
    mailtopics: MailTopics, figure: Figure
) -> None:
    mailtopics.wait_until_ready(_NAME)
    wanted = mailtopics.topics("get", _NAME, "retention.ms")
    assert mailtopics.topics("set", _NAME, "retention.ms", "60000") == "done"
    _put_back(
        mailtopics,
        figure,
        f"retention.ms of a topic (looked at every {RESYNC_S} s)",
        lambda: mailtopics.topics("get", _NAME, "retention.ms") == wanted,
    )
    events = mailtopics.kubectl("get", "events", "--field-selector=reason=DriftCorrected")
    assert "retention.ms" in events


def test_kubectl_scale_sets_the_number_of_senders(mailtopics: MailTopics, figure: Figure) -> None:
    began_s = time.monotonic()
    mailtopics.kubectl("scale", f"mailtopic/{_NAME}", "--replicas=1")
    mailtopics.cluster.until(
        lambda: len(mailtopics.senders(_NAME)) == 1, "one sender is left", timeout_s=90
    )
    figure(f"kubectl scale mailtopic 2 → 1: {time.monotonic() - began_s:.1f} s")
    assert mailtopics.get(f"mailtopic/{_NAME}")["spec"]["consumers"]["replicas"] == 1
    mailtopics.wait_until_ready(_NAME)


def test_a_deleted_mailtopic_leaves_or_takes_its_topics(
    mailtopics: MailTopics, figure: Figure
) -> None:
    for name, policy in {"kept": "Retain", "gone": "Delete"}.items():
        mailtopics.apply(name, deletionPolicy=policy, consumers={"replicas": 1})
    for name in ("kept", "gone"):
        mailtopics.wait_until_ready(name)
    for name, policy in {"kept": "Retain", "gone": "Delete"}.items():
        began_s = time.monotonic()
        mailtopics.kubectl("delete", f"mailtopic/{name}", "--timeout=60s")
        figure(f"kubectl delete mailtopic, {policy}: {time.monotonic() - began_s:.1f} s")
    left = mailtopics.topics("list").split()
    assert {"kept", "kept.dlq", "kept.status", "kept.retry.10s"} <= set(left)
    assert [name for name in left if name.split(".")[0] == "gone"] == []


def test_an_uninstalled_operator_leaves_senders_that_deliver(
    mailtopics: MailTopics, figure: Figure
) -> None:
    mailtopics.wait_until_ready(_NAME)
    mailtopics.kubectl("scale", "deployment/mailtopic-operator", "--replicas=0")
    mailtopics.cluster.until(
        lambda: not mailtopics.release.pod_names("operator"), "the operator has ended"
    )
    began_s = time.monotonic()
    mailtopics.release.sign_up_and_verify("another@example.com")
    figure(f"a signup to verified without an operator {time.monotonic() - began_s:.1f} s")
    mailtopics.kubectl("scale", "deployment/mailtopic-operator", "--replicas=1")
    mailtopics.kubectl("rollout", "status", "deployment/mailtopic-operator")


def test_a_namespace_goes_with_operator_kafka_and_mailtopics(
    mailtopics: MailTopics, figure: Figure
) -> None:
    for name, policy in {"left": "Retain", "gone": "Delete"}.items():
        mailtopics.apply(name, deletionPolicy=policy, consumers={"replicas": 1})
        mailtopics.wait_until_ready(name)
    finalizers = mailtopics.get("mailtopic/gone")["metadata"]["finalizers"]
    assert finalizers == ["mailtopic.dev/topics"]
    began_s = time.monotonic()
    namespace = mailtopics.release.namespace
    mailtopics.cluster.kubectl("delete", "namespace", namespace, "--timeout=120s", timeout_s=150)
    figure(f"kubectl delete namespace, with everything in it: {time.monotonic() - began_s:.1f} s")
