"""Three Kafka nodes: any one pod of the release may die at any time."""

import time
from collections.abc import Callable, Iterator

import pytest

from localcluster.client import ClusterClient
from support.kube_release import RESTRICTED, Release

_RATE_PER_S = 10
# A crash leaves the pod and its volumes, a deletion brings a new one. The inbox stands for a relay
# that keeps what it took, so it may crash only.
_VICTIMS = (
    ("kafka", Release.crash),
    ("kafka", Release.delete),
    ("sender", Release.crash),
    ("sender", Release.delete),
    ("signup", Release.crash),
    ("signup", Release.delete),
    ("inbox", Release.crash),
)


@pytest.fixture
def release(cluster: ClusterClient, images: None) -> Iterator[Release]:
    del images
    with cluster.namespace("three", **RESTRICTED) as namespace:
        release = Release(cluster, namespace)
        yield release
        release.run("uninstall")


@pytest.mark.timeout(600, func_only=True)
def test_any_pod_may_be_killed_under_load(release: Release, figure: Callable[[str], None]) -> None:
    began_s = time.monotonic()
    release.put("install", files=("local", "three-nodes"))
    figure(f"install --wait with three Kafka nodes {time.monotonic() - began_s:.1f} s")

    load = release.load("load", rate_per_s=_RATE_PER_S)
    load.wait_until_started()
    for component, end in _VICTIMS:
        release.survive(component, end)
    result = load.end()
    figure(f"{len(_VICTIMS)} pods killed one after the other: {result}")
    assert result["accepted"] == result["asked"], "every signup was accepted in the end"
    assert result["lost"] == 0
