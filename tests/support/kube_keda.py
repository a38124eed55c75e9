"""KEDA itself on a cluster: built from its pinned module, installed by the manifests in it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from localcluster.client import ClusterClient
from localcluster.fixtures import localcluster
from localcluster.node_settings import KEDA_ADAPTER_IMAGE, KEDA_IMAGE, TOOL_MODULES, cache_folder
from localcluster.toolchain import Toolchain
from mailtopic_cli.cluster.programs import run
from support.requirements import require

NAMESPACE = "keda"
_MODULE = "github.com/kedacore/keda/v2"
# Without its webhooks: they only check what people write.
_PARTS = ("general", "service_account", "rbac", "manager", "metrics-server")
_IMAGES = {"keda-operator": KEDA_IMAGE, "keda-metrics-apiserver": KEDA_ADAPTER_IMAGE}
_START_S = 120
_SERVED = "apiservice/v1beta1.external.metrics.k8s.io"

Manifest = dict[str, Any]


@contextmanager
def keda(cluster: ClusterClient) -> Iterator[None]:
    """Build, load and install KEDA; take it away in the end, with its CRDs."""
    if cluster.run(_kubectl(cluster), "get", "namespace", NAMESPACE, check=False).returncode == 0:
        require("cluster", f"the cluster has a namespace {NAMESPACE} already, and so a KEDA")
    _load_images(cluster)
    config = _config()
    crds, rest = _crds(config), list(_manifests(config))
    try:
        # Too large for the annotation of a client-side apply.
        _apply(cluster, crds)
        for manifest in crds:
            cluster.wait(f"crd/{manifest['metadata']['name']}", "condition=Established")
        _apply(cluster, rest)
        for name in _IMAGES:
            cluster.rollout(f"deployment/{name}", namespace=NAMESPACE, timeout_s=_START_S)
        cluster.wait(_SERVED, "condition=Available", timeout_s=_START_S)
        yield
    finally:
        _delete(cluster, [*rest, *crds])


def _load_images(cluster: ClusterClient) -> None:
    toolchain = Toolchain(cache_folder(), print)
    toolchain.ensure("keda")
    archives = [str(toolchain.image(name)) for name in ("keda", "keda-adapter")]
    loaded = localcluster("load", *archives, settings=cluster.settings)
    if loaded.returncode:
        require("cluster", loaded.stderr)


def _config() -> Path:
    found = run("go", "list", "-m", "-f", "{{.Dir}}", _MODULE, cwd=TOOL_MODULES / "keda")
    assert found.returncode == 0, found.stderr
    return Path(found.stdout.strip()) / "config"


def _crds(config: Path) -> list[Manifest]:
    return [
        each for path in sorted((config / "crd" / "bases").glob("*.yaml")) for each in _read(path)
    ]


def _manifests(config: Path) -> Iterator[Manifest]:
    for part in _PARTS:
        for path in sorted((config / part).glob("*.yaml")):
            for manifest in _read(path):
                # Beside them lie kustomizations, some without a kind.
                kind = manifest.get("kind", "Kustomization")
                if kind == "Deployment":
                    _adapt(manifest)
                if kind != "Kustomization":
                    yield manifest


def _adapt(deployment: Manifest) -> None:
    """Run our images, and be ready as soon as it is; nothing else differs from what KEDA ships."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    name = deployment["metadata"]["name"]
    container |= {"image": _IMAGES[name], "imagePullPolicy": "Never"}
    container["readinessProbe"] |= {"initialDelaySeconds": 1, "periodSeconds": 1}
    if name == "keda-operator":
        container["args"].append("--enable-webhook-patching=false")


def _read(path: Path) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(path.read_text("utf-8")) if each]


def _apply(cluster: ClusterClient, manifests: list[Manifest]) -> None:
    cluster.kubectl("apply", "--server-side", "--filename=-", text=_listing(manifests))


def _delete(cluster: ClusterClient, manifests: list[Manifest]) -> None:
    cluster.kubectl(
        *("delete", "--ignore-not-found", "--timeout=90s", "--filename=-"),
        text=_listing(manifests),
        timeout_s=120,
    )


def _listing(manifests: list[Manifest]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})


def _kubectl(cluster: ClusterClient) -> str:
    return str(cluster.settings.bin / "kubectl")
