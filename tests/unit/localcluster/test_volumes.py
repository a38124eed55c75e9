"""Claims become volumes."""

from pathlib import Path
from typing import Any

import pytest

from localcluster.volumes import is_to_be_deleted, volume_for, wants_volume

FOLDER = Path("/state/volumes")


def claim(*, node: str | None = "mailtopic", **spec: Any) -> dict[str, Any]:
    annotations = {"volume.kubernetes.io/selected-node": node} if node else {}
    return {
        "metadata": {"namespace": "n", "name": "data", "uid": "u1", "annotations": annotations},
        "spec": {
            "storageClassName": "standard",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
    }


def test_a_claim_is_served_once_its_pod_has_been_scheduled() -> None:
    assert wants_volume(claim())
    assert not wants_volume(claim(node=None))


@pytest.mark.parametrize(
    "spec",
    [
        {"storageClassName": "other"},
        {"volumeName": "pv0"},
        {"selector": {"matchLabels": {"a": "b"}}},
        {"volumeMode": "Block"},
    ],
)
def test_other_claims_are_left_alone(spec: dict[str, Any]) -> None:
    assert not wants_volume(claim(**spec))


def test_a_claim_that_is_being_deleted_gets_no_volume() -> None:
    leaving = claim()
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not wants_volume(leaving)


def test_the_volume_is_a_folder_of_this_node_for_this_claim_only() -> None:
    volume = volume_for(claim(), FOLDER)
    spec = volume["spec"]
    assert volume["metadata"]["name"] == "pvc-u1"
    assert spec["local"] == {"path": "/state/volumes/pvc-u1"}
    assert (spec["claimRef"]["namespace"], spec["claimRef"]["name"]) == ("n", "data")
    assert spec["claimRef"]["uid"] == "u1"
    assert spec["capacity"] == {"storage": "1Gi"}
    assert spec["accessModes"] == ["ReadWriteOnce"]
    (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["mailtopic"]


def test_a_released_volume_is_deleted_and_a_kept_or_foreign_one_is_not() -> None:
    released = {**volume_for(claim(), FOLDER), "status": {"phase": "Released"}}
    assert is_to_be_deleted(released)
    assert not is_to_be_deleted({**released, "status": {"phase": "Bound"}})
    kept = {**released["spec"], "persistentVolumeReclaimPolicy": "Retain"}
    assert not is_to_be_deleted({**released, "spec": kept})
    assert not is_to_be_deleted({**released, "metadata": {"name": "pv0"}})
    leaving = {**released["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert not is_to_be_deleted({**released, "metadata": leaving})
