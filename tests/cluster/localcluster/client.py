"""A cluster as tests see it: kubectl, Helm, and waiting."""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .programs import Finished, run
from .settings import Settings

_TIMEOUT_S = 60
_POLL_S = 0.1


class ClientError(Exception):
    """A command failed; the text has the command and what it wrote."""


class ClusterClient:
    """The clients in a cluster's folder, with its kubeconfig.

    All methods raise ClientError when a command fails that has to succeed, and AssertionError when
    what is waited for doesn't come.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def kubeconfig(self) -> Path:
        return self.settings.kubeconfig

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to meet this cluster and no other."""
        path = f"{self.settings.bin}:{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def run(
        self,
        *command: str,
        text: str | None = None,
        check: bool = True,
        timeout_s: float = _TIMEOUT_S,
    ) -> Finished:
        """Run a command against the cluster.

        Args:
            command: a program of the cluster's folder, or any other, with its arguments.
            text: what it reads on standard input.
            check: whether it has to succeed.
            timeout_s: it fails after this time.
        """
        try:
            finished = run(*command, text=text, env=self.environment, timeout_s=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ClientError(f"{' '.join(command)}: not within {timeout_s:g} s") from error
        if check and finished.returncode:
            wrote = f"{finished.stdout}\n{finished.stderr}".strip()
            raise ClientError(f"{' '.join(command)} ended with {finished.returncode}: {wrote}")
        return finished

    def kubectl(
        self, *arguments: str, text: str | None = None, timeout_s: float = _TIMEOUT_S
    ) -> str:
        """Run kubectl; return what it printed."""
        return self.run(self._program("kubectl"), *arguments, text=text, timeout_s=timeout_s).stdout

    def helm(self, *arguments: str, timeout_s: float = 5 * _TIMEOUT_S) -> str:
        """Run Helm 4; return what it printed."""
        return self.run(self._program("helm"), *arguments, timeout_s=timeout_s).stdout

    def helm3(self, *arguments: str, timeout_s: float = 5 * _TIMEOUT_S) -> str:
        """Run Helm 3; return what it printed."""
        return self.run(self._program("helm3"), *arguments, timeout_s=timeout_s).stdout

    def _program(self, name: str) -> str:
        return str(self.settings.bin / name)

    def apply(self, *objects: dict[str, Any], namespace: str | None = None) -> None:
        """Create or change objects; with a namespace given, they may name no other one."""
        listing = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        scope = [] if namespace is None else ["--namespace", namespace]
        self.kubectl("apply", *scope, "--filename=-", text=json.dumps(listing))

    def get(self, what: str, *, namespace: str = "default") -> dict[str, Any]:
        """Return one object, named like ``pod/web``, or a list, named like ``pods``."""
        found = self.kubectl("get", what, "--namespace", namespace, "--output=json")
        document: dict[str, Any] = json.loads(found)
        return document

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
