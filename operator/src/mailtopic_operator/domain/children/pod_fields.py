"""Which fields of a podTemplate the author of a MailTopic may set.

None of them gives a pod more rights than the operator's own template: no other program, account,
volume, Secret or host, and no other Kafka than the operator's.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mailtopic_operator.domain.desired import Desired

ANY_FIELD: Final = "*"
_CONTAINER: Final = "sender"

_Check = Callable[[Any], bool]
_Rules = Mapping[str, "_Check | _Rules"]


def _anything(_value: Any) -> bool:
    return True


def _is_map(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _is_one_of(*allowed: Any) -> _Check:
    # Types are compared as well: 1 == True, but Kubernetes takes no number for a boolean.
    return lambda value: any(type(value) is type(each) and value == each for each in allowed)


def _is_no_root(value: Any) -> bool:
    """Whether it is an id other than root's; null leaves it to the image or OpenShift."""
    return value is None or (type(value) is int and value > 0)


def _drops_all(value: Any) -> bool:
    return isinstance(value, list) and "ALL" in value


def _keeps_profiles(value: Any) -> bool:
    """Whether annotations don't set what amounts to a security context."""
    return value is None or (
        isinstance(value, Mapping)
        and not any("apparmor" in key or "seccomp" in key or key in _NETWORKS for key in value)
    )


_NETWORKS: Final = frozenset({"k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network"})

_PROFILE: Final[_Rules] = {"type": _is_one_of("RuntimeDefault")}
_USER: Final[_Rules] = {
    "runAsUser": _is_no_root,
    "runAsGroup": _is_no_root,
    "runAsNonRoot": _is_one_of(True),
    "seccompProfile": _PROFILE,
    "appArmorProfile": _PROFILE,
}
_POD_CONTEXT: Final[_Rules] = {
    **_USER,
    "fsGroup": _is_no_root,
    "fsGroupChangePolicy": _is_one_of("OnRootMismatch", "Always", None),
}
_CONTAINER_CONTEXT: Final[_Rules] = {
    **_USER,
    "allowPrivilegeEscalation": _is_one_of(False),
    "privileged": _is_one_of(False),
    "readOnlyRootFilesystem": _is_one_of(True),
    "capabilities": {"drop": _drops_all},
}
_ENVIRONMENT: Final = frozenset(
    {
        "TZ",
        "MAILTOPIC_LOG__LEVEL",
        "MAILTOPIC_LOG__FORMAT",
        "MAILTOPIC_TRACING__SAMPLE_RATIO",
    }
)
"""Variables that may be set, to plain values."""

_SPEC: Final[_Rules] = {
    "nodeSelector": _anything,
    "affinity": _anything,
    "tolerations": _anything,
    "topologySpreadConstraints": _anything,
    "priorityClassName": _anything,
    "preemptionPolicy": _anything,
    "schedulerName": _anything,
    "schedulingGates": _anything,
    "terminationGracePeriodSeconds": _anything,
    "resources": _anything,
    "securityContext": _POD_CONTEXT,
}
_SENDER: Final[_Rules] = {
    "name": _is_one_of(_CONTAINER),
    "resources": _anything,
    "securityContext": _CONTAINER_CONTEXT,
}
_METADATA: Final[_Rules] = {"labels": _is_map, "annotations": _keeps_profiles}


def refused_fields(desired: Desired) -> tuple[str, ...]:
    """Return the fields of the podTemplate with values that aren't allowed, sorted."""
    template, more = desired.spec.consumers.pod_template, desired.defaults.border.pod_fields
    if template is None or ANY_FIELD in more:
        return ()
    return tuple(sorted(set(_refused(template, more))))


def _refused(template: Mapping[str, Any], more: tuple[str, ...]) -> Iterator[str]:
    for key, value in template.items():
        if key in more:
            continue
        if key == "metadata":
            yield from _beyond(value, _METADATA, key, more)
        elif key == "spec" and isinstance(value, Mapping):
            rest = {name: each for name, each in value.items() if name != "containers"}
            yield from _beyond(rest, _SPEC, key, more)
            if "containers" in value and "spec.containers" not in more:
                yield from _containers(value["containers"], more)
        else:
            yield key


def _beyond(value: Any, rules: _Rules, path: str, more: tuple[str, ...]) -> Iterator[str]:
    """Yield the paths at which a part of the template violates the rules."""
    if not isinstance(value, Mapping):
        yield path
        return
    for key, each in value.items():
        where, allowed = f"{path}.{key}", rules.get(key)
        if where in more:
            continue
        if isinstance(allowed, Mapping):
            yield from _beyond(each, allowed, where, more)
        elif allowed is None or not allowed(each):
            yield where


def _containers(containers: Any, more: tuple[str, ...]) -> Iterator[str]:
    path = "spec.containers"
    if not isinstance(containers, list):
        yield path
        return
    for container in containers:
        if not isinstance(container, Mapping) or container.get("name") != _CONTAINER:
            yield path
            continue
        rest = {name: each for name, each in container.items() if name != "env"}
        yield from _beyond(rest, _SENDER, path, more)
        if "env" in container and f"{path}.env" not in more:
            yield from _variables(container["env"], f"{path}.env")


def _variables(variables: Any, path: str) -> Iterator[str]:
    if not isinstance(variables, list) or not all(map(_is_plain, variables)):
        yield path


def _is_plain(variable: Any) -> bool:
    if not isinstance(variable, Mapping) or set(variable) != {"name", "value"}:
        return False
    name = variable["name"]
    return isinstance(name, str) and name in _ENVIRONMENT
