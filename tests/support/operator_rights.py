"""What the operator's chart lets it do, and a way to take one of these rights away."""

import copy
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support.api_server import ApiServer
from support.helm import Helm

Json = dict[str, Any]

_RELEASE = "operator"
_KINDS = ("ServiceAccount", "Role", "RoleBinding")
_TIMEOUT_S = 10.0


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource, such as ``patch`` on ``mailtopics/status``."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb}-{self.resource.replace('/', '-')}"


def rendered(helm: Helm, namespace: str) -> list[Json]:
    """Return the account, the Roles and their bindings of a release in a namespace."""
    values = {"kafka.bootstrapServers": "kafka:9092"}
    objects = helm.template("operator", values, release=_RELEASE, namespace=namespace)
    return [each for each in objects if each["kind"] in _KINDS]


def granted(objects: list[Json]) -> set[Right]:
    """Return every right that Roles grant."""
    return {
        Right(group, resource, verb)
        for each in objects
        if each["kind"] == "Role"
        for rule in each["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


class Rights:
    """The rights of an operator in a namespace, as its chart gives them."""

    def __init__(self, server: ApiServer, helm: Helm, namespace: str) -> None:
        self._server = server
        self._namespace = namespace
        self._objects = rendered(helm, namespace)
        self._user = f"system:serviceaccount:{namespace}:{_RELEASE}"
        self._server.apply(*self._objects)

    @property
    def lease(self) -> str:
        """The name of the only Lease that may be renewed."""
        (name,) = {name for role in self._roles for rule in role["rules"] for name in _names(rule)}
        return str(name)

    @property
    def _roles(self) -> list[Json]:
        return [each for each in self._objects if each["kind"] == "Role"]

    @contextmanager
    def without(self, right: Right) -> Iterator[None]:
        """Take a right away for the block."""
        assert right in granted(self._objects)
        self._server.apply(*(_without(role, right) for role in self._roles))
        self._wait(right, allowed=False)
        try:
            yield
        finally:
            self._server.apply(*self._roles)
            self._wait(right, allowed=True)

    def _wait(self, right: Right, *, allowed: bool) -> None:
        """Wait until the API server goes by the new rules: it reads them a moment later."""
        deadline_s = time.monotonic() + _TIMEOUT_S
        while self._is_allowed(right) != allowed:
            assert time.monotonic() < deadline_s, f"{right} is still {not allowed}"

    def _is_allowed(self, right: Right) -> bool:
        resource, _, part = right.resource.partition("/")
        attributes = {
            "namespace": self._namespace,
            "verb": right.verb,
            "group": right.group,
            "resource": resource,
            "subresource": part,
            "name": self.lease if resource == "leases" else "",
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": self._user, "resourceAttributes": attributes},
        }
        answer = self._server.kubectl(
            "create", "--filename=-", "--output=json", stdin=json.dumps(review)
        )
        return bool(json.loads(answer)["status"]["allowed"])


def _names(rule: Json) -> list[str]:
    names: list[str] = rule.get("resourceNames", [])
    return names


def _without(role: Json, right: Right) -> Json:
    left = copy.deepcopy(role)
    left["rules"] = [each for rule in role["rules"] for each in _split(rule, right)]
    return left


def _split(rule: Json, right: Right) -> Iterator[Json]:
    """Yield rules that grant what a rule does, but for one right."""
    for resource in rule["resources"]:
        verbs = [
            verb
            for verb in rule["verbs"]
            if (resource, verb) != (right.resource, right.verb)
            or right.group not in rule["apiGroups"]
        ]
        if verbs:
            yield {**rule, "resources": [resource], "verbs": verbs}
