"""Why senders don't run, in the words of their pods."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Pod = Mapping[str, Any]

_BEYOND_WAITING: Final = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Reasons of a waiting container that end only when a person does something."""

_ALIKE: Final = {"ErrImagePull": "ImagePullBackOff"}
"""The kubelet goes back and forth between these."""

_LENGTH: Final = 300


@dataclass(frozen=True, slots=True)
class PodTrouble:
    """What keeps a pod from running.

    Attributes:
        pod: its name.
        reason: one word, CamelCase, as Kubernetes says it.
        message: one line, with both.
        is_stalled: only a person can end it.
    """

    pod: str
    reason: str
    message: str
    is_stalled: bool


def pod_trouble(pods: Iterable[Pod]) -> PodTrouble | None:
    """Return the worst trouble of some pods; None if they run, or have only just begun."""
    found = [trouble for pod in pods if (trouble := _of(pod)) is not None]
    return min(found, key=lambda each: (not each.is_stalled, each.reason, each.pod), default=None)


def _of(pod: Pod) -> PodTrouble | None:
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    if "deletionTimestamp" in pod["metadata"]:
        return None
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in _BEYOND_WAITING:
            reason = _ALIKE.get(reason, reason)
            said = _last_words(container) if reason == "CrashLoopBackOff" else ""
            said = said or _line(waiting.get("message", ""))
            return PodTrouble(name, reason, f"pod {name}: {reason}: {said}", is_stalled=True)
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            reason, said = condition.get("reason", ""), _line(condition.get("message", ""))
            return PodTrouble(name, reason, f"pod {name}: {reason}: {said}", is_stalled=False)
    return None


def _last_words(container: Mapping[str, Any]) -> str:
    """Return how a container ended last, with the last line of its log where that is known."""
    ended = (container.get("lastState") or {}).get("terminated") or {}
    if not ended:
        return ""
    lines = (ended.get("message") or "").strip().splitlines()
    how = f"exit code {ended.get('exitCode')} ({ended.get('reason', 'unknown')})"
    return f"{how}: {_line(lines[-1])}" if lines else how


def _line(text: str) -> str:
    return " ".join(text.split())[:_LENGTH]
