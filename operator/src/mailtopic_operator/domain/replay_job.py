"""The Job that runs a replay: `mailtopic dlq replay`, which is idempotent: it repeats no mail."""

from typing import Any, Final

from mailtopic_operator.domain.children.common import (
    KAFKA_CLIENT,
    MANAGED_BY,
    MANAGER,
)
from mailtopic_operator.domain.children.pod import (
    kafka_volume,
    restricted_container,
    restricted_pod,
)
from mailtopic_operator.domain.children.settings_env import KAFKA_DIRECTORY, replay_env
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.replays import DesiredReplay
from mailtopic_operator.model.base import API_VERSION
from mailtopic_operator.model.mailreplay import MailReplay

REPORT: Final = "/dev/termination-log"
"""Where the counts go: the kubelet copies its content into the pod's status."""

_TRIES: Final = 6


def replay_job(replay: DesiredReplay, topic: Desired) -> dict[str, Any]:
    """Return the Job of a replay."""
    spec = {
        "backoffLimit": _TRIES,
        "template": {
            "metadata": {"labels": {**_labels(replay), KAFKA_CLIENT: "true"}},
            "spec": _pod(replay, topic),
        },
    }
    return {
        "apiVersion": replay.job.api_version,
        "kind": replay.job.kind,
        "metadata": {
            "name": replay.job.name,
            "namespace": replay.meta.namespace,
            "labels": _labels(replay),
            "ownerReferences": [_owner(replay)],
        },
        "spec": spec,
    }


def _labels(replay: DesiredReplay) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "mailtopic-replay",
        "app.kubernetes.io/instance": replay.meta.name,
        "app.kubernetes.io/component": "replay",
        "app.kubernetes.io/part-of": "mailtopic",
        MANAGED_BY: MANAGER,
    }


def _owner(replay: DesiredReplay) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": MailReplay.kind,
        "name": replay.meta.name,
        "uid": replay.meta.uid,
        "controller": True,
    }


def _pod(replay: DesiredReplay, topic: Desired) -> dict[str, Any]:
    sender = topic.defaults.sender
    # The plan of a replay is kept in a file: a DLQ may be larger than memory.
    volumes: list[dict[str, Any]] = [{"name": "plan", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "plan", "mountPath": "/tmp"}]  # noqa: S108 (a volume)
    access = kafka_volume(topic)
    if access is not None:
        volumes.append(access)
        mounts.append({"name": access["name"], "mountPath": KAFKA_DIRECTORY, "readOnly": True})
    container = {
        "name": "replay",
        "image": sender.replay_image,
        "imagePullPolicy": sender.image_pull_policy,
        "command": ["mailtopic", "dlq", "replay"],
        "args": replay_arguments(replay),
        "env": replay_env(topic),
        "securityContext": restricted_container(),
        "terminationMessagePath": REPORT,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {
            "requests": {"cpu": "50m", "memory": "96Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},
        },
        "volumeMounts": mounts,
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": restricted_pod(),
        "containers": [container],
        "volumes": volumes,
        **_pull_secrets(sender.image_pull_secrets),
    }


def _pull_secrets(names: tuple[str, ...]) -> dict[str, Any]:
    return {"imagePullSecrets": [{"name": name} for name in names]} if names else {}


def replay_arguments(replay: DesiredReplay) -> list[str]:
    """Return the options of the command."""
    spec = replay.spec
    arguments = ["--yes", "--report", REPORT]
    for name in spec.filter.classes:
        arguments += ["--class", name]
    if spec.filter.since is not None:
        arguments += ["--since", spec.filter.since]
    if spec.filter.until is not None:
        arguments += ["--until", spec.filter.until]
    if spec.rate_per_second is not None:
        arguments += ["--rate", f"{spec.rate_per_second}/s"]
    if spec.dry_run:
        arguments.append("--dry-run")
    return arguments
