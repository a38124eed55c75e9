"""k8s/ on a real cluster: the same installation without Helm."""

import time
from collections.abc import Callable

import pytest

from localcluster.client import ClusterClient
from mailtopic_cli.cluster.programs import Finished
from support.kube_crds import crds_as_before
from support.kube_release import RESTRICTED, Release
from support.kustomize import OVERLAYS, SECRETS

WARNED = {"pod-security.kubernetes.io/warn": "restricted"}


@pytest.mark.timeout(300, func_only=True)
@pytest.mark.usefixtures("images")
def test_one_command_for_secrets_and_one_apply_bring_a_signups_mail_to_the_inbox(
    cluster: ClusterClient, figure: Callable[[str], None]
) -> None:
    with crds_as_before(cluster), cluster.namespace("kustomize", **RESTRICTED) as namespace:
        began_s = time.monotonic()
        cluster.run(str(SECRETS), "one-node", "--namespace", namespace)
        _apply(cluster, namespace, "one-node")
        release = Release(cluster, namespace)
        release.wait_until_ready()
        ready_s = time.monotonic()
        release.sign_up_and_verify("someone@example.com")
        figure(
            f"secrets, apply and ready {ready_s - began_s:.1f} s,"
            f" signup to verified {time.monotonic() - ready_s:.1f} s"
        )

        again = cluster.run(str(SECRETS), "one-node", "--namespace", namespace)
        assert again.stdout == "", "what is there stays as it is"
        before = {pod["metadata"]["uid"] for pod in release.pods()}
        _apply(cluster, namespace, "one-node")
        assert before == {pod["metadata"]["uid"] for pod in release.pods()}


@pytest.mark.parametrize("overlay", ["one-node", "production"])
def test_the_api_server_takes_an_overlay_and_has_no_warning_about_its_pods(
    overlay: str, cluster: ClusterClient
) -> None:
    with cluster.namespace("kustomize", **WARNED) as namespace:
        applied = _apply(cluster, namespace, overlay, "--dry-run=server")
    assert "deployment.apps/mailtopic-sender" in applied.stdout
    assert applied.stderr == ""


def _apply(cluster: ClusterClient, namespace: str, overlay: str, *options: str) -> Finished:
    return cluster.run(
        *("kubectl", "apply", "--server-side", "--namespace", namespace),
        *(f"--kustomize={OVERLAYS / overlay}", *options),
    )
