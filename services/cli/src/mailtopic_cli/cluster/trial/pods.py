"""The state of a release's pods, in words."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

Pod = dict[str, Any]

# Waiting won't fix these, or not soon.
_HOPELESS = {
    "CrashLoopBackOff": "kubectl logs --previous shows why",
    "CreateContainerConfigError": "",
    "ErrImageNeverPull": "`make images` builds and loads it",
    "ErrImagePull": "`make images` builds and loads ours; others come from a registry",
    "ImagePullBackOff": "`make images` builds and loads ours; others come from a registry",
    "InvalidImageName": "",
}


def summary(pods: Iterable[Pod]) -> str:
    """Return how many pods of each component are ready: ``kafka 0/1, sender 2/2``."""
    ready: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for pod in pods:
        if pod["status"].get("phase") in ("Succeeded", "Failed") or _is_leaving(pod):
            continue
        name = pod["metadata"].get("labels", {}).get("app.kubernetes.io/name", "others")
        there[name] += 1
        ready[name] += is_ready(pod)
    return ", ".join(f"{name} {ready[name]}/{there[name]}" for name in sorted(there))


def is_ready(pod: Pod) -> bool:
    """Whether Kubernetes considers a pod ready."""
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def problems(pods: Iterable[Pod]) -> list[str]:
    """Return a line for each pod that needs attention."""
    return [f"{pod['metadata']['name']}: {text}" for pod in pods for text in _problems(pod)]


def _problems(pod: Pod) -> Iterator[str]:
    for condition in pod["status"].get("conditions", []):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            # The scheduler's further attempts don't help the user.
            yield f"no node takes it: {condition.get('message', '').partition('. ')[0]}"
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in pod["status"].get(kind, []):
            reason = container.get("state", {}).get("waiting", {}).get("reason", "")
            if reason in _HOPELESS:
                help_ = f"; {_HOPELESS[reason]}" if _HOPELESS[reason] else ""
                yield f"{reason} of {container['image']}{help_}"


def _is_leaving(pod: Pod) -> bool:
    return "deletionTimestamp" in pod["metadata"]
