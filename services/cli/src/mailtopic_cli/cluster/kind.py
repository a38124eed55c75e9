"""A cluster by kind, on Docker or Podman."""

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

from .clients import find_helm, link
from .errors import ClusterError, PrerequisiteError
from .kind_config import NODES_VARIABLE, kind_config
from .programs import Finished, Report, last_line, run
from .settings import Settings

IMAGE_VARIABLE: Final = "KIND_IMAGE"

_READY_TIMEOUT_S: Final = 180
_POLL_S: Final = 1.0
_ENGINE_TIMEOUT_S: Final = 60
_LATE_S: Final = 10
_GIB: Final = 2**30
# For the engine's machine, and for each node: estimates for MailTopic with its images, not
# limits. Seen on one node: 9.4 GB of disk with the engine's own caches.
_MEMORY_GIB: Final = (2.0, 0.5)
_DISK_GIB: Final = (3.0, 2.0)
_MOST_SKEW: Final = 1
"""Minor versions between a kubectl and its API server (Kubernetes' version skew policy)."""


class KindCluster:
    """A kind cluster of this state folder's own, with the nodes of kind-config.yaml.

    Only a completely created cluster counts; the remains of an interrupted `up` are removed by
    the next `up` or by `down`.

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
            PrerequisiteError: kind or Helm is missing, or memory or disk for new nodes.
            ClusterError: the engine or kind refuses, or the nodes don't get ready.
        """
        helm = find_helm()
        if self._is_complete and self._exists():
            self._resume()
        else:
            if self.is_noted or self._exists():
                self._report("deleting what an interrupted start has left")
                self._delete_late_nodes()
            self._create()
        self._link_kubectl()
        link(self._settings, "helm", helm)

    def down(self) -> None:
        """Delete the cluster, complete or not."""
        self._kind("delete", "cluster", "--kubeconfig", str(self._settings.kubeconfig))
        self._settings.kind_progress.unlink(missing_ok=True)
        self._settings.kubeconfig.unlink(missing_ok=True)
        shutil.rmtree(self._settings.bin, ignore_errors=True)
        self._report("the kind cluster is down")

    def load(self, archives: list[Path]) -> None:
        """Load archives into the nodes."""
        for archive in archives:
            self._kind("load", "image-archive", str(archive))
            self._report(f"loaded {archive.name}")

    def is_up(self) -> bool:
        """Whether it is complete, every node runs and the API server answers."""
        try:
            is_whole = self._is_complete and self._exists()
            return is_whole and not self._stopped_nodes() and self._answers()
        except ClusterError:
            return False

    @property
    def is_noted(self) -> bool:
        """Whether an `up` began one here and no `down` has removed it."""
        return self._settings.kind_progress.exists()

    def describe(self) -> list[str]:
        """Return its name, its kubeconfig, and any problems."""
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
        text, nodes = kind_config(os.environ)
        self._check_room(nodes)
        config = self._settings.state / "kind-config.yaml"
        config.write_text(text, "utf-8")
        image = os.environ.get(IMAGE_VARIABLE)
        self._report(f"creating a kind cluster with {self._engine}")
        with self._nothing_left_on_failure():
            self._kind(
                *("create", "cluster", "--config", str(config)),
                *(["--image", image] if image else []),
                *("--kubeconfig", str(self._settings.kubeconfig)),
                *("--wait", f"{_READY_TIMEOUT_S}s"),
            )
            if nodes > 1:
                self._open_the_control_plane()
            self._wait_for_nodes()
            self._settings.kind_progress.write_text("complete\n")

    def _open_the_control_plane(self) -> None:
        """Let its node take pods too, so that three Kafka nodes have three zones.

        kind does so itself for a single node, and fails there if its configuration did it before.
        """
        node = f"{self._settings.name}-control-plane"
        finished = self._kubectl("taint", "node", node, "node-role.kubernetes.io/control-plane-")
        if finished.returncode:
            raise ClusterError(f"{node} can't take pods: {last_line(finished.stderr)}")

    def _check_room(self, nodes: int) -> None:
        """Refuse what would fail half-way, by the engine's report on its machine.

        Disk is checked only if the engine's folder is on this machine.
        """
        try:
            facts = json.loads(self._run_engine("info", "--format", "{{json .}}"))
        except ValueError:
            return
        wanted = {"memory": _wanted(_MEMORY_GIB, nodes), "disk": _wanted(_DISK_GIB, nodes)}
        found = {"memory": facts.get("MemTotal") or facts.get("host", {}).get("memTotal")}
        folder = facts.get("DockerRootDir") or facts.get("store", {}).get("graphRoot")
        if folder and Path(folder).is_dir():
            found["disk"] = shutil.disk_usage(folder).free
        for what, has in found.items():
            if has is not None and has < wanted[what]:
                fewer = f", or take fewer nodes: {NODES_VARIABLE}=1" if nodes > 1 else ""
                raise PrerequisiteError(
                    f"{self._engine} has {has / _GIB:.1f} GiB of {what} to give, and "
                    f"{wanted[what] / _GIB:.1f} GiB are needed: make room{fewer}"
                )

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
            raise ClusterError(f"not every node got ready: {last_line(finished.stderr)}")

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

    @property
    def _is_complete(self) -> bool:
        progress = self._settings.kind_progress
        return progress.exists() and progress.read_text().split() == ["complete"]

    def _exists(self) -> bool:
        finished = self._run("get", "clusters")
        if finished.returncode:
            raise self._silence(last_line(finished.stderr))
        return self._settings.name in finished.stdout.split()

    def _nodes(self) -> list[str]:
        return self._run("get", "nodes", "--name", self._settings.name).stdout.split()

    def _stopped_nodes(self) -> list[str]:
        states = self._run_engine("inspect", "--format", "{{.State.Running}}", *self._nodes())
        pairs = zip(self._nodes(), states.split(), strict=True)
        return [node for node, running in pairs if running != "true"]

    def _link_kubectl(self) -> None:
        """Provide a kubectl that is compatible with the cluster's API server."""
        beside = self._settings.bin / "kubectl"
        on_machine = shutil.which("kubectl")
        if on_machine and self._goes_with(on_machine):
            link(self._settings, "kubectl", Path(on_machine).resolve())
        elif platform.system() == "Linux":
            beside.parent.mkdir(exist_ok=True)
            beside.unlink(missing_ok=True)
            node = f"{self._settings.name}-control-plane"
            self._run_engine("cp", "--follow-link", f"{node}:/usr/bin/kubectl", str(beside))
            beside.chmod(0o755)
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
            raise self._silence(str(error)) from None
        if finished.returncode:
            raise self._failure(f"{self._engine} {arguments[0]}", finished)
        return finished.stdout

    def _failure(self, command: str, finished: Finished) -> ClusterError:
        """Distinguish a failed command from an engine that has stopped meanwhile."""
        said = last_line(finished.stderr)
        try:
            is_running = run(self._engine, "info", timeout_s=_ENGINE_TIMEOUT_S).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            is_running = False
        if is_running:
            return ClusterError(f"{command} failed: {said}")
        return self._silence(said)

    def _silence(self, said: str) -> ClusterError:
        return ClusterError(f"{self._engine} does not answer: start it and try again ({said})")

    def _kind(self, *arguments: str) -> None:
        finished = self._run(*arguments, "--name", self._settings.name)
        if finished.returncode:
            raise self._failure(f"kind {' '.join(arguments[:2])}", finished)

    def _run(self, *arguments: str) -> Finished:
        program = shutil.which("kind")
        if program is None:
            raise PrerequisiteError(
                f"{self._engine} runs here, but kind is missing: install it with "
                "`go install sigs.k8s.io/kind@latest` or from kind.sigs.k8s.io, "
                "or set KUBECONFIG to a cluster of yours"
            )
        environment = {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": self._engine}
        return run(program, *arguments, env=environment)


def _minor(version: str) -> int:
    """Return 34 of v1.34.4."""
    return int(version.split(".")[1])


def _wanted(base_and_node_gib: tuple[float, float], nodes: int) -> float:
    """Return how many bytes so many nodes need."""
    base, node = base_and_node_gib
    return (base + node * nodes) * _GIB
