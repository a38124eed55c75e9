"""Volumes for claims of the class `standard`: pure functions between claims and volumes.

A volume is a folder of the node, as a `local` PersistentVolume: the kubelet applies a pod's fsGroup
to it, and without one only root may write, as on a fresh disk. Its size is not enforced.
"""

from pathlib import Path
from typing import Any

from .node_settings import NODE_NAME, PROVISIONER, STORAGE_CLASS

_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"


def storage_class() -> dict[str, Any]:
    """Return the default class; a volume is made when a pod that wants it has been scheduled."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def wants_volume(claim: dict[str, Any]) -> bool:
    """Whether a claim is ours to serve and its time has come."""
    spec, metadata = claim["spec"], claim["metadata"]
    return (
        spec.get("storageClassName") == STORAGE_CLASS
        and not spec.get("volumeName")
        and not spec.get("selector")
        and spec.get("volumeMode", "Filesystem") == "Filesystem"
        and "deletionTimestamp" not in metadata
        and (metadata.get("annotations") or {}).get(_SELECTED_NODE) == NODE_NAME
    )


def volume_for(claim: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the volume that this claim, and no other, will be bound to.

    Args:
        claim: the claim as the API gives it.
        folder: where all volumes lie; the volume's own folder is named after it.
    """
    metadata, spec = claim["metadata"], claim["spec"]
    name = f"pvc-{metadata['uid']}"
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {_PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "local": {"path": str(folder / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def is_ours(volume: dict[str, Any]) -> bool:
    """Whether a volume was made by this provisioner."""
    annotations = volume["metadata"].get("annotations") or {}
    return bool(annotations.get(_PROVISIONED_BY) == PROVISIONER)


def is_to_be_deleted(volume: dict[str, Any]) -> bool:
    """Whether a volume's claim is gone and its data is to go too."""
    return (
        is_ours(volume)
        and "deletionTimestamp" not in volume["metadata"]
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and (volume.get("status") or {}).get("phase") == "Released"
    )
