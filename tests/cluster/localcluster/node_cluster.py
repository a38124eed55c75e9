"""The one-node cluster: what CI and machines without Docker have in place of kind."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mailtopic_cli.cluster.clients import link
from mailtopic_cli.cluster.errors import ClusterError, PrerequisiteError
from mailtopic_cli.cluster.programs import Finished, Report, run

from . import processes
from .addons import manifests
from .api import Api, ApiError
from .cgroups import CgroupTree
from .launch import Launch, clean, describe_end, is_available, is_node_ready
from .node_settings import CONTAINERD_SOCKET, NodeSettings
from .prerequisites import extend_path, problems
from .toolchain import MODULES, Toolchain

# How long a complete node may be busy with other things before `up` calls that an error.
_PATIENCE_S = 60
_POLL_S = 0.5
_OWN_IMAGES = ("pause", "coredns", "metrics-server")
_METRICS_API = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"


class NodeCluster:
    """A Kubernetes node in namespaces of its own on this machine.

    Args:
        settings: where its state lies.
        toolchain: the programs it is made of.
        report: gets a line for each step.
    """

    mode = "node"

    def __init__(self, settings: NodeSettings, toolchain: Toolchain, report: Report) -> None:
        self._settings = settings
        self._toolchain = toolchain
        self._report = report

    def up(self) -> None:
        """Bring the cluster up, or say that it is up.

        Raises:
            ClusterError: it can't be brought up; nothing of it is left then.
        """
        extend_path()
        if self._is_complete():
            self._wait_until_ready_again()
            self._report("the cluster is up already")
            link_clients(self._settings, self._toolchain)
            return
        if missing := problems(CgroupTree(self._settings.name)):
            lines = "".join(f"\n  - {line}" for line in missing)
            raise PrerequisiteError(f"a one-node cluster can't run here; it lacks:{lines}")
        self._toolchain.ensure(*MODULES)
        if clean(self._settings):
            self._report("removed what an earlier cluster had left")
        launch = Launch(self._settings, self._toolchain)
        try:
            try:
                self._start(launch)
            except ClusterError:
                # Whatever failed: if a part of the node has ended, that is why.
                launch.raise_if_ended()
                raise
        except BaseException:
            clean(self._settings)
            raise
        link_clients(self._settings, self._toolchain)

    def down(self) -> None:
        """Take the cluster down; nothing of it being there is fine."""
        extend_path()
        self._report("the cluster is down" if clean(self._settings) else "there is no cluster")

    def load(self, archives: list[Path]) -> None:
        """Import image archives, OCI's or Docker's, into the node's containerd.

        Raises:
            ClusterError: an archive can't be imported, or names no image.
        """
        for archive in archives:
            self._report(f"loaded {', '.join(self._import(archive))}")

    def _import(self, archive: Path) -> list[str]:
        with archive.open("rb") as content:
            finished = self._in_node(
                *("ctr", "--address", str(CONTAINERD_SOCKET), "--namespace", "k8s.io"),
                *("images", "import", "--snapshotter", "overlayfs", "-"),
                stdin=content,
            )
        if finished.returncode:
            wrote = finished.stderr.strip()[-1000:]
            raise ClusterError(f"{archive} can't be imported: {wrote}")
        lines = finished.stdout.splitlines()
        names = [line.split()[1] for line in lines if line.startswith("unpack")]
        if not names or any(name.startswith("import-") for name in names):
            raise ClusterError(f"{archive} names no image: its index lacks the annotation")
        return names

    def is_up(self) -> bool:
        """Whether `up` came to its end, and the node runs and is ready."""
        return self._is_complete() and self._is_ready()

    def _is_complete(self) -> bool:
        """Whether a node runs whose start came to its end, ready at this moment or not."""
        is_running = processes.first_pid(self._settings.state) is not None
        return is_running and self._settings.complete_file.exists()

    def _is_ready(self) -> bool:
        try:
            return is_node_ready(self._api)
        except (ApiError, OSError):
            return False

    def _wait_until_ready_again(self) -> None:
        """Give a busy machine time; a node that runs is never taken away by `up`."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while not self._is_ready():
            if time.monotonic() > deadline_s:
                raise ClusterError(
                    f"a node runs, but was not ready within {_PATIENCE_S} s: look at its logs in "
                    f"{self._settings.logs}, or take it down first"
                )
            time.sleep(_POLL_S)

    def describe(self) -> list[str]:
        """Return lines about the cluster's state."""
        if processes.first_pid(self._settings.state) is None:
            return [describe_end(self._settings) if self._settings.node.exists() else "no node"]
        if not self._settings.complete_file.exists():
            return ["a node is being started, or its start was killed"]
        try:
            version = self._api.request("GET", "/version")["gitVersion"]
            pods = self._api.request("GET", "/api/v1/pods")["items"]
        except (ApiError, OSError) as error:
            return [f"a node runs, but its API server does not answer: {error}"]
        return [
            f"Kubernetes {version}, one node, {'ready' if self._is_ready() else 'not ready now'}",
            f"kubeconfig: {self._settings.kubeconfig}",
            *_unready(pods),
        ]

    def _start(self, launch: Launch) -> None:
        with self._step("certificates and configuration"):
            launch.prepare()
        with self._step("etcd, containerd, API server"):
            launch.start()
            launch.wait_for("the API server is ready", lambda: self._api.request("GET", "/readyz"))
        with self._step("images of the node itself"):
            launch.wait_for("containerd serves", self._is_containerd_up)
            for name in _OWN_IMAGES:
                self._import(self._toolchain.image(name))
        with self._step("add-ons applied"):
            self._apply(manifests())
        with self._step("node ready"):
            launch.wait_for("the node is ready", lambda: is_node_ready(self._api))
        with self._step("cluster DNS ready"):
            launch.wait_for("CoreDNS is available", lambda: is_available(self._api, "coredns"))
        # Its API is announced from now on: until it is served, every client that lists what the
        # cluster offers meets an error, Helm among them.
        with self._step("resource metrics served"):
            launch.wait_for("the metrics API is available", self._are_metrics_served)
        self._settings.complete_file.touch()

    @property
    def _api(self) -> Api:
        return Api(self._settings.kubeconfig)

    def _is_containerd_up(self) -> bool:
        return self._in_node("ctr", "--address", str(CONTAINERD_SOCKET), "version").returncode == 0

    def _are_metrics_served(self) -> bool:
        conditions = self._api.request("GET", _METRICS_API)["status"].get("conditions", [])
        return any(item["type"] == "Available" and item["status"] == "True" for item in conditions)

    def _apply(self, objects: list[dict[str, Any]]) -> None:
        finished = run(
            *(self._settings.node_bin / "kubectl", "apply", "--filename", "-"),
            text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}),
            env={"KUBECONFIG": str(self._settings.kubeconfig), "HOME": "/nonexistent"},
        )
        if finished.returncode:
            raise ClusterError(f"the add-ons can't be applied: {finished.stderr.strip()}")

    def _in_node(self, *command: str, stdin: IO[bytes] | None = None) -> Finished:
        pid = processes.first_pid(self._settings.state)
        if pid is None:
            raise ClusterError("no node runs: bring the cluster up first")
        return run("nsenter", f"--target={pid}", "--mount", "--", *command, stdin=stdin)

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        began_s = time.monotonic()
        yield
        self._report(f"{what:<32} {time.monotonic() - began_s:5.1f} s")


def link_clients(settings: NodeSettings, toolchain: Toolchain) -> None:
    """Put kubectl and both Helms, of our own build, into the cluster's folder."""
    toolchain.ensure("kubernetes", "clients")
    for name in ("kubectl", "helm", "helm3"):
        link(settings, name, toolchain.program(name))


def _unready(pods: list[dict[str, Any]]) -> list[str]:
    lines = []
    for pod in pods:
        status = pod["status"]
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
        if not ready and status["phase"] != "Succeeded":
            name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            lines.append(f"not ready: {name} ({status['phase']})")
    return lines
