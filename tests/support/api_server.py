"""A real Kubernetes API without nodes: etcd and kube-apiserver on the loopback interface.

Custom resources with their rules, server-side apply, watches, RBAC and finalizers are real; there
are no controllers, so nothing starts pods, and dependants of deleted owners are not collected.
"""

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mailtopic_cli.children import Child, resident_mb
from support.kube_pki import KubePki
from support.ports import free_ports
from support.requirements import require

ROOT = Path(__file__).parents[2]
_PROGRAMS = ("etcd", "kube-apiserver", "kubectl")
_START_S = 60.0
_STOP_S = 15.0


class ApiServerError(Exception):
    """The API server did not start; the text ends with what it wrote."""


class ApiServer:
    """One etcd and one kube-apiserver; made in the main thread, see `Child`.

    Args:
        directory: holds all their data.
        programs: by name.
        arguments: more of them for kube-apiserver.
    """

    def __init__(
        self, directory: Path, programs: dict[str, Path], arguments: Sequence[str] = ()
    ) -> None:
        self._arguments = arguments
        self._directory = directory
        self._programs = programs
        directory.mkdir(parents=True, exist_ok=True)
        self.pki = KubePki(directory / "pki")
        self._etcd_port, self._peer_port, self._port = free_ports(3)
        self.kubeconfig = self.pki.kubeconfig(self.url, "admin", ["system:masters"])
        self._etcd: Child | None = None
        self._api: Child | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def kubectl_program(self) -> Path:
        return self._programs["kubectl"]

    def kubeconfig_of(self, user: str, *groups: str) -> Path:
        """Return a kubeconfig of a user without rights beyond RBAC's."""
        return self.pki.kubeconfig(self.url, user, groups)

    def start(self) -> None:
        """Start both, and return when the API answers and stores something."""
        self._etcd = self._run("etcd", self._etcd_arguments())
        self.start_api()

    def start_api(self) -> None:
        """Start the API server over the etcd that runs; what it stored is still there."""
        self._api = self._run("kube-apiserver", self._api_arguments())
        deadline_s = time.monotonic() + _START_S
        while not self._is_ready():
            if self._api.exit_code is not None or time.monotonic() > deadline_s:
                raise ApiServerError(self._log("kube-apiserver").read_text()[-2000:])
            time.sleep(0.05)

    async def stop_api(self) -> None:
        """Stop the API server as a crash would; etcd stays."""
        if self._api is not None:
            await self._api.kill()

    def compact(self) -> None:
        """Have etcd forget every version but the newest."""
        url = f"http://127.0.0.1:{self._etcd_port}/v3/kv"
        newest = _post(f"{url}/range", {"key": "AA=="})["header"]["revision"]
        _post(f"{url}/compaction", {"revision": newest, "physical": True})

    async def stop(self) -> None:
        for child in (self._api, self._etcd):
            if child is not None:
                await child.end(grace_s=_STOP_S)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as the cluster's owner; return what it wrote to standard output."""
        done = subprocess.run(  # noqa: S603 - our own kubectl
            [self.kubectl_program, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Apply manifests as the cluster's owner."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(items))

    def serves_crds(self, *names: str) -> None:
        """Return when these CRDs, or all that there are, are served.

        `kubectl wait` refuses a CRD that has no conditions yet, which holds for a moment.
        """
        deadline_s = time.monotonic() + _START_S
        while True:
            found = self.get("crd", *names)
            crds = found["items"] if found["kind"] == "List" else [found]
            if all(_is_established(crd) for crd in crds):
                return
            if time.monotonic() > deadline_s:
                raise ApiServerError(f"not every CRD is established: {', '.join(names) or 'all'}")
            time.sleep(0.05)

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return what ``kubectl get`` shows, as JSON."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def resident_mb(self) -> float:
        """Return the memory of both."""
        children = [child for child in (self._api, self._etcd) if child]
        return sum(resident_mb(child.pid) or 0 for child in children)

    def _run(self, name: str, arguments: Sequence[str]) -> Child:
        return Child(
            [str(self._programs[name]), *arguments],
            log_file=self._log(name),
            env={"PATH": os.environ["PATH"], "HOME": str(self._directory)},
            cwd=self._directory,
        )

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _etcd_arguments(self) -> list[str]:
        client = f"http://127.0.0.1:{self._etcd_port}"
        peer = f"http://127.0.0.1:{self._peer_port}"
        return [
            "--name=test",
            f"--data-dir={self._directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=test={peer}",
        ]

    def _api_arguments(self) -> list[str]:
        return [
            "--advertise-address=127.0.0.1",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--client-ca-file={self.pki.ca}",
            f"--tls-cert-file={self.pki.server_certificate}",
            f"--tls-private-key-file={self.pki.server_key}",
            f"--service-account-key-file={self.pki.token_key}",
            f"--service-account-signing-key-file={self.pki.token_key}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            # There is no controller here that makes service accounts' tokens.
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={self._directory / 'certificates'}",
            *self._arguments,
        ]

    def _is_ready(self) -> bool:
        context = ssl.create_default_context(cafile=self.pki.ca)
        url = f"{self.url}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=2, context=context) as response:  # noqa: S310 - loopback
                return bool(response.status == 200)
        except OSError:
            return False


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode())  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - the same
        found: dict[str, Any] = json.loads(response.read())
    return found


def running_api_server(
    directory: Path, tier: str, arguments: Sequence[str] = ()
) -> Iterator[ApiServer]:
    """An API server that runs until the iterator is asked again; skips where there is none."""
    programs = {name: _find(name) for name in _PROGRAMS}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        require(tier, f"{', '.join(missing)} can't be found; `make cluster` builds them")
    found = {name: path for name, path in programs.items() if path}
    server = ApiServer(directory, found, arguments)
    try:
        server.start()
        yield server
    finally:
        asyncio.run(server.stop())


def _find(name: str) -> Path | None:
    named = os.environ.get("MAILTOPIC_KUBE_BIN")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    built = sorted((cache / "mailtopic" / "cluster").glob("*/bin"), key=lambda p: p.stat().st_mtime)
    directories = [Path(named)] if named else []
    for directory in [*directories, ROOT / ".cluster" / "bin", *reversed(built)]:
        if (directory / name).exists():
            return directory / name
    # kubectl may be any version's, but a stray API server of another version proves nothing.
    found = shutil.which(name) if name != "kube-apiserver" else None
    return Path(found) if found else None


def _is_established(crd: dict[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
