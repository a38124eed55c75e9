"""The umbrella chart over a release's whole life, with both Helm clients, on a real cluster."""

import time
from collections.abc import Callable, Iterator

import pytest

from localcluster.client import ClusterClient
from support.kube_release import RESTRICTED, Release

_RATE_PER_S = 10
# What an uninstall leaves on purpose: what mails and accounts could not be read without.
_KEPT = {"mailtopic-sealing-keys", "mailtopic-signup-pepper", "mailtopic-kafka-identity"}


@pytest.fixture
def release(
    cluster: ClusterClient, images: None, request: pytest.FixtureRequest
) -> Iterator[Release]:
    """A namespace that takes only restricted pods, for one release."""
    del images
    with cluster.namespace("release", **RESTRICTED) as namespace:
        yield Release(cluster, namespace, helm=request.param)


@pytest.mark.timeout(600, func_only=True)
@pytest.mark.parametrize("release", ["helm", "helm3"], indirect=True)
def test_a_release_is_installed_upgraded_rolled_back_and_uninstalled_without_losing_a_mail(
    release: Release, figure: Callable[[str], None]
) -> None:
    began_s = time.monotonic()
    release.put("install")
    installed_s = time.monotonic()
    release.sign_up_and_verify("someone@example.com")
    figure(
        f"install --wait {installed_s - began_s:.1f} s,"
        f" signup to verified {time.monotonic() - installed_s:.1f} s"
    )
    assert "Succeeded" in release.run("test")

    _assert_pods_can_do_nothing_they_need_not(release)

    load = release.load("load", rate_per_s=_RATE_PER_S)
    load.wait_until_started()
    before = {pod["metadata"]["uid"] for pod in release.pods()}
    # Every pod is replaced, as by a new version of all images; the inbox stands for a relay.
    release.put("upgrade", *_everything_rolls("2"))
    release.run("rollback", "1", "--wait", "--timeout=240s")
    replaced = before - {pod["metadata"]["uid"] for pod in release.pods()}
    assert len(replaced) >= 4, "Kafka, signup and two senders were replaced"
    result = load.end()
    figure(f"upgrade and rollback under load: {result}")
    assert result["accepted"] == result["asked"], "every signup was accepted in the end"
    assert result["lost"] == 0

    release.run("uninstall", "--wait", "--timeout=120s")
    assert _left_behind(release) == _KEPT


def _everything_rolls(generation: str) -> list[str]:
    return [
        f"--set-string={component}.podAnnotations.generation={generation}"
        for component in ("kafka", "signup", "sender")
    ]


def _assert_pods_can_do_nothing_they_need_not(release: Release) -> None:
    """What the kernel says of each container's first process, not what the manifest says."""
    for pod in release.pods():
        name = pod["metadata"]["name"]
        for container in pod["spec"]["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, name
            assert {"requests", "limits"} <= set(container["resources"]), name
            assert "memory" in container["resources"]["limits"], name
        if "kafka" in name:
            continue  # it has no Python to look with
        status = release.cluster.execute(
            name,
            "/app/.venv/bin/python",
            "-c",
            "import pathlib; print(pathlib.Path('/proc/1/status').read_text())",
            namespace=release.namespace,
        )
        facts = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        assert int(facts["CapEff"], 16) == 0, name
        assert int(facts["CapBnd"], 16) == 0, name
        assert "0" not in facts["Uid"].split(), name
        assert facts["NoNewPrivs"].strip() == "1", name
        assert facts["Seccomp"].strip() == "2", name


def _left_behind(release: Release) -> set[str]:
    found = release.cluster.get(
        "deployments,statefulsets,services,configmaps,secrets,networkpolicies,jobs,ingresses,"
        "horizontalpodautoscalers,poddisruptionbudgets,serviceaccounts,roles,rolebindings",
        namespace=release.namespace,
    )["items"]
    not_ours = {"kube-root-ca.crt", "default", "load"}
    return {item["metadata"]["name"] for item in found} - not_ours
