"""A cluster by kind, where Docker or Podman runs."""

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .errors import ClusterError, PrerequisiteError
from .kind_config import kind_config
from .programs import Finished, run
from .settings import Settings
from .toolchain import Report

IMAGE_VARIABLE: Final = "KIND_IMAGE"

_READY_TIMEOUT_S: Final = 180
_POLL_S: Final = 1.0
_ENGINE_TIMEOUT_S: Final = 60
_LATE_S: Final = 10
_MOST_SKEW: Final = 1
"""Minor versions between a kubectl and its API server (Kubernetes' version skew policy)."""


class KindCluster:
    """A kind cluster of this state folder's own, with the nodes of kind-config.yaml.

    Only a cluster that was created to its end counts as one; what an interrupted `up` left is
    removed by the next `up` or by `down`.

    Args:
        settings: where its kubeconfig and its kubectl are written.
        report: gets a line for each step.
        engine: docker or podman.
    """

    mode = "kind"

    def __init__(self, settings: Settings, report: Report, engine: str) -> None:
        self._settings = settings
        self._report = report
        self._engine = engine

    def up(self) -> None:
        """Create the cluster; start the nodes that are stopped if it is there already.

        Raises:
            PrerequisiteError: kind is missing.
            ClusterError: the engine or kind refuses, or the nodes don't get ready.
        """
        if self._is_complete and self._exists():
            self._resume()
        else:
            if self.is_noted or self._exists():
                self._report("deleting what an interrupted start has left")
                self._delete_late_nodes()
            self._create()
        self._link_kubectl()

    def down(self) -> None:
        """Delete the cluster, whole or half made."""
        self._delete()
        self._settings.kubeconfig.unlink(missing_ok=True)
        shutil.rmtree(self._settings.bin, ignore_errors=True)
        self._report("the kind cluster is down")

    def load(self, archives: list[Path]) -> None:
        """Load archives into the nodes."""
        for archive in archives:
            self._kind("load", "image-archive", str(archive))
            self._report(f"loaded {archive.name}")

    def is_up(self) -> bool:
        """Whether it was created to its end, every node runs and the API server answers."""
        try:
            is_whole = self._is_complete and self._exists()
            return is_whole and not self._stopped_nodes() and self._answers()
        except ClusterError:
            return False

    @property
    def is_noted(self) -> bool:
        """Whether an `up` began one here and no `down` removed it."""
        return self._settings.kind_progress.exists()

    def describe(self) -> list[str]:
        """Return its name, where its kubeconfig is, and what keeps it from serving."""
        lines = [
            f"kind cluster {self._settings.name} on {self._engine}",
            f"kubeconfig: {self._settings.kubeconfig}",
        ]
        try:
            if not (self._is_complete and self._exists()):
                return [*lines, "it is not there: `make cluster` brings it up"]
            lines += [f"node {node} is stopped" for node in self._stopped_nodes()]
            if not self._answers():
                lines.append("the API server does not answer: `make cluster` starts its nodes")
        except ClusterError as error:
            lines.append(str(error))
        return lines

    def _create(self) -> None:
        config = self._settings.state / "kind-config.yaml"
        config.write_text(kind_config(os.environ), "utf-8")
        image = os.environ.get(IMAGE_VARIABLE)
        self._report(f"creating a kind cluster with {self._engine}")
        with self._nothing_left_on_failure():
            self._kind(
                *("create", "cluster", "--config", str(config)),
                *(["--image", image] if image else []),
                *("--kubeconfig", str(self._settings.kubeconfig)),
                *("--wait", f"{_READY_TIMEOUT_S}s"),
            )
            self._wait_for_nodes()
            self._settings.kind_progress.write_text("complete\n")

    @contextmanager
    def _nothing_left_on_failure(self) -> Iterator[None]:
        self._settings.kind_progress.write_text("begun\n")
        try:
            yield
        except BaseException:
            self._report("deleting what was made so far")
            self._delete_late_nodes()
            raise

    def _delete_late_nodes(self) -> None:
        """Delete the cluster, and nodes that the engine was still making when kind was ended.

        The engine finishes such a request by itself, seconds later. Should one come later still,
        the next `up` or `down` removes it: that a start began here stays noted until then.
        """
        deadline_s = time.monotonic() + _LATE_S
        while True:
            self._kind("delete", "cluster", "--kubeconfig", str(self._settings.kubeconfig))
            while not self._nodes():
                if time.monotonic() > deadline_s:
                    return
                time.sleep(_POLL_S)

    def _resume(self) -> None:
        stopped = self._stopped_nodes()
        if stopped:
            self._report(f"starting {len(stopped)} stopped nodes")
            self._run_engine("start", *stopped)
        self._kind("export", "kubeconfig", "--kubeconfig", str(self._settings.kubeconfig))
        self._wait_for_the_api()
        self._wait_for_nodes()
        self._report("the kind cluster is up already")

    def _wait_for_nodes(self) -> None:
        """Wait for the workers, too: kind waits for the control plane only."""
        finished = self._kubectl(
            *("wait", "--for=condition=Ready", "nodes", "--all"),
            f"--timeout={_READY_TIMEOUT_S}s",
        )
        if finished.returncode:
            raise ClusterError(f"not every node got ready: {_last_line(finished.stderr)}")

    def _wait_for_the_api(self) -> None:
        deadline_s = time.monotonic() + _READY_TIMEOUT_S
        while not self._answers():
            if time.monotonic() > deadline_s:
                raise ClusterError(
                    f"the kind cluster's API server did not answer within {_READY_TIMEOUT_S} s: "
                    "`make cluster-down` deletes the cluster, `make cluster` makes a new one"
                )
            time.sleep(_POLL_S)

    def _answers(self) -> bool:
        return self._kubectl("get", "--raw=/readyz").returncode == 0

    def _kubectl(self, *arguments: str) -> Finished:
        """Run a node's own kubectl, which needs no client on this machine."""
        return run(
            *(self._engine, "exec", f"{self._settings.name}-control-plane", "kubectl"),
            *("--kubeconfig=/etc/kubernetes/admin.conf", *arguments),
            timeout_s=_READY_TIMEOUT_S + _ENGINE_TIMEOUT_S,
        )

    def _delete(self) -> None:
        self._kind("delete", "cluster", "--kubeconfig", str(self._settings.kubeconfig))
        self._settings.kind_progress.unlink(missing_ok=True)

    @property
    def _is_complete(self) -> bool:
        progress = self._settings.kind_progress
        return progress.exists() and progress.read_text().split() == ["complete"]

    def _exists(self) -> bool:
        finished = self._run("get", "clusters")
        if finished.returncode:
            raise ClusterError(
                f"{self._engine} does not answer: start it "
                f"(kind get clusters: {_last_line(finished.stderr)})"
            )
        return self._settings.name in finished.stdout.split()

    def _nodes(self) -> list[str]:
        return self._run("get", "nodes", "--name", self._settings.name).stdout.split()

    def _stopped_nodes(self) -> list[str]:
        states = self._run_engine("inspect", "--format", "{{.State.Running}}", *self._nodes())
        pairs = zip(self._nodes(), states.split(), strict=True)
        return [node for node, running in pairs if running != "true"]

    def _link_kubectl(self) -> None:
        """Put a kubectl beside the cluster that its API server's version goes with."""
        link = self._settings.bin / "kubectl"
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        on_machine = shutil.which("kubectl")
        if on_machine and self._goes_with(on_machine):
            link.symlink_to(on_machine)
        elif platform.system() == "Linux":
            node = f"{self._settings.name}-control-plane"
            self._run_engine("cp", "--follow-link", f"{node}:/usr/bin/kubectl", str(link))
            link.chmod(0o755)
        else:
            raise PrerequisiteError(
                "kubectl is missing, or too far from the cluster's version: install the one for "
                f"Kubernetes {self._server_minor()}"
            )

    def _goes_with(self, kubectl: str) -> bool:
        finished = run(kubectl, "version", "--client", "--output=json", timeout_s=20)
        try:
            minor = _minor(json.loads(finished.stdout)["clientVersion"]["gitVersion"])
        except (ValueError, KeyError):
            return False
        return abs(minor - self._server_minor()) <= _MOST_SKEW

    def _server_minor(self) -> int:
        node = f"{self._settings.name}-control-plane"
        return _minor(self._run_engine("exec", node, "cat", "/kind/version"))

    def _run_engine(self, *arguments: str) -> str:
        try:
            finished = run(self._engine, *arguments, timeout_s=_ENGINE_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ClusterError(f"{self._engine} does not answer: start it ({error})") from None
        if finished.returncode:
            command = f"{self._engine} {arguments[0]}"
            raise ClusterError(f"{command} failed: {_last_line(finished.stderr)}")
        return finished.stdout

    def _kind(self, *arguments: str) -> None:
        finished = self._run(*arguments, "--name", self._settings.name)
        if finished.returncode:
            command = " ".join(arguments[:2])
            raise ClusterError(f"kind {command} failed: {finished.stderr.strip()[-2000:]}")

    def _run(self, *arguments: str) -> Finished:
        program = shutil.which("kind")
        if program is None:
            raise PrerequisiteError(
                f"{self._engine} runs here, but kind is missing: install it with "
                "`go install sigs.k8s.io/kind@latest` or from kind.sigs.k8s.io, "
                "set KUBECONFIG to a cluster of yours, "
                "or take the one-node cluster: MAILTOPIC_CLUSTER_MODE=node"
            )
        environment = {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": self._engine}
        return run(program, *arguments, env=environment)


def _minor(version: str) -> int:
    """Return 34 of v1.34.4."""
    return int(version.split(".")[1])


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1][-300:]
