"""A cluster as tests see it: its clients, and waiting."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mailtopic_cli.cluster.clients import Clients
from mailtopic_cli.cluster.errors import ClientError

_TIMEOUT_S = 60
_POLL_S = 0.1


class ClusterClient(Clients):
    """The clients of a cluster, with what tests do besides.

    All methods raise ClientError when a command fails that has to succeed, and AssertionError when
    what is waited for doesn't come.
    """

    def helm3(self, *arguments: str, timeout_s: float = 5 * _TIMEOUT_S) -> str:
        """Run Helm 3; return what it printed."""
        return self.run(self.program("helm3"), *arguments, timeout_s=timeout_s).stdout

    def apply(self, *objects: dict[str, Any], namespace: str | None = None) -> None:
        """Create or change objects; with a namespace given, they may name no other one."""
        listing = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        scope = [] if namespace is None else ["--namespace", namespace]
        self.kubectl("apply", *scope, "--filename=-", text=json.dumps(listing))

    def wait(
        self,
        what: str,
        condition: str,
        *,
        namespace: str = "default",
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        """Wait like ``kubectl wait``: ``wait("pod/web", "condition=Ready")``, ``"delete"``."""
        self.kubectl(
            *("wait", what, f"--for={condition}", "--namespace", namespace),
            f"--timeout={timeout_s:g}s",
            timeout_s=timeout_s + _TIMEOUT_S,
        )

    def rollout(
        self, what: str, *, namespace: str = "default", timeout_s: float = _TIMEOUT_S
    ) -> None:
        """Wait until a Deployment, StatefulSet or DaemonSet has rolled out."""
        self.kubectl(
            *("rollout", "status", what, "--namespace", namespace, f"--timeout={timeout_s:g}s"),
            timeout_s=timeout_s + _TIMEOUT_S,
        )

    def execute(self, pod: str, *command: str, namespace: str = "default") -> str:
        """Run a command in a pod's first container; return what it printed."""
        return self.kubectl("exec", "--namespace", namespace, pod, "--", *command)

    def until(
        self, condition: Callable[[], object], what: str, *, timeout_s: float = _TIMEOUT_S
    ) -> None:
        """Wait until a condition holds; a failing command in it counts as "not yet"."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            last = ""
            try:
                if condition():
                    return
            except ClientError as error:
                last = f" ({error})"
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not within {timeout_s:g} s: {what}{last}")
            time.sleep(_POLL_S)

    @contextmanager
    def namespace(self, prefix: str, **labels: str) -> Iterator[str]:
        """Make a namespace of its own for a test, and delete it with all that is in it."""
        name = f"{prefix}-{uuid.uuid4().hex[:6]}"
        metadata = {"name": name, "labels": labels}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        # Pods are refused until this has come, a moment later.
        self.until(
            lambda: self.get("serviceaccount/default", namespace=name),
            "the namespace has its service account",
        )
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
