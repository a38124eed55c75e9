"""With TLS, logins and ACLs on every connection to Kafka, the same pipeline works."""

import time
from collections.abc import Callable, Iterator

import pytest

from localcluster.client import ClusterClient
from support.kube_release import RESTRICTED, Release

_RATE_PER_S = 20


@pytest.fixture
def release(cluster: ClusterClient, images: None) -> Iterator[Release]:
    del images
    with cluster.namespace("secured", **RESTRICTED) as namespace:
        release = Release(cluster, namespace)
        yield release
        release.run("uninstall")


def test_mails_arrive_over_tls_with_logins_and_acls(
    release: Release, figure: Callable[[str], None]
) -> None:
    began_s = time.monotonic()
    release.put("install", files=("local", "secured"))
    figure(f"install --wait with SASL_SSL and ACLs {time.monotonic() - began_s:.1f} s")
    release.sign_up_and_verify("someone@example.com")
    load = release.load("load", rate_per_s=_RATE_PER_S)
    load.wait_until_started()
    # A secured Kafka changes nothing for those who come while a sender is replaced.
    release.cluster.kubectl(
        *("rollout", "restart", "deployment/mailtopic-sender", "--namespace", release.namespace)
    )
    release.wait_until_ready()
    result = load.end()
    assert result["accepted"] == result["asked"]
    assert result["lost"] == 0
    assert result["twice"] == 0
