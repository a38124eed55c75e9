"""Debian's Prometheus in a cluster, configured as the guide says, with the rules of a release.

Debian builds Prometheus without the discovery of Kubernetes. So its part is played here: each pod
of the API becomes a target with the meta labels that Prometheus' documentation of
kubernetes_sd_config gives to the role pod; all that follows from them is the guide's.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from localcluster.client import ClusterClient
from localcluster.fixtures import localcluster
from localcluster.images import write_image
from mailtopic_cli.cluster.errors import ClientError
from support.kube_release import REPOSITORY, Release
from support.prometheus import Prometheus
from support.requirements import require

GUIDE = REPOSITORY / "docs" / "guides" / "observability.md"
SCRAPE_S = 2
_IMAGE = "localhost/mailtopic-prometheus:1"
_NAME = "prometheus"
_PORT = 9090
_RULES = ("mailtopic", "kafka")
Json = dict[str, Any]


def scrape_configs(pods: Sequence[Json]) -> list[Json]:
    """Return the guide's scrape configuration, with pods in place of their discovery."""
    blocks = re.findall(r"```yaml\n(scrape_configs:.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 1, "the guide has one scrape configuration"
    found: list[Json] = yaml.safe_load(blocks[0])["scrape_configs"]
    for job in found:
        (discovery,) = job.pop("kubernetes_sd_configs")
        assert discovery == {"role": "pod", "namespaces": {"names": ["mail"]}}
        job["static_configs"] = [_discovered(pod) for pod in pods]
    return found


def _discovered(pod: Json) -> Json:
    metadata, status = pod["metadata"], pod["status"]
    meta = "__meta_kubernetes"
    labels = {
        f"{meta}_namespace": metadata["namespace"],
        f"{meta}_pod_name": metadata["name"],
        f"{meta}_pod_ip": status["podIP"],
        f"{meta}_pod_phase": status["phase"],
    }
    for kind in ("label", "annotation"):
        for name, value in metadata.get(f"{kind}s", {}).items():
            labels[f"{meta}_pod_{kind}_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}"] = value
    return {"targets": [status["podIP"]], "labels": labels}


@contextmanager
def prometheus_beside(release: Release, folder: Path) -> Iterator[Prometheus]:
    """Run a Prometheus in a release's namespace, reached by a forwarded port.

    It knows the pods that run now. The release has its rules as ConfigMaps:
    monitoring.rules.as=ConfigMap.
    """
    _load_image(release.cluster, folder / "prometheus.tar")
    release.cluster.apply(*_objects(release), namespace=release.namespace)
    try:
        release.cluster.wait(f"pod/{_NAME}", "condition=Ready", namespace=release.namespace)
    except ClientError as error:
        raise AssertionError(f"{error}\n{release.diagnosis()}") from None
    with release.forwarded(_NAME, _PORT) as url:
        yield Prometheus(int(url.rpartition(":")[2]), folder)


def _load_image(cluster: ClusterClient, archive: Path) -> None:
    program = shutil.which("prometheus")
    if program is None:
        require("cluster", "there is no prometheus: apt install prometheus")
    write_image(archive, name=_IMAGE, program=Path(program), libraries=_libraries_of(Path(program)))
    loaded = localcluster("load", str(archive), settings=cluster.settings)
    if loaded.returncode:
        require("cluster", loaded.stderr)


def _libraries_of(program: Path) -> list[Path]:
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout  # noqa: S603, S607 - Debian's program
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listed)]


def _objects(release: Release) -> list[Json]:
    configuration = {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": "10s"},
        "rule_files": [f"/rules/{name}/*.yaml" for name in _RULES],
        "scrape_configs": scrape_configs(release.pods()),
    }
    return [
        _object("v1", "ConfigMap", data={"prometheus.yml": yaml.safe_dump(configuration)}),
        _object("v1", "Service", spec={"selector": {"app": _NAME}, "ports": [{"port": _PORT}]}),
        _pod(release),
    ]


def _object(version: str, kind: str, **fields: Any) -> Json:
    labels = {"app": _NAME}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": _NAME, "labels": labels},
        **fields,
    }


def _pod(release: Release) -> Json:
    maps = {"config": _NAME} | {f"rules-{n}": f"{release.name}-rules-{n}" for n in _RULES}
    mounts = [{"name": "config", "mountPath": "/config"}, {"name": "data", "mountPath": "/data"}]
    mounts += [{"name": f"rules-{n}", "mountPath": f"/rules/{n}"} for n in _RULES]
    container = {
        "name": _NAME,
        "image": _IMAGE,
        "imagePullPolicy": "Never",
        "args": ["--config.file=/config/prometheus.yml", "--storage.tsdb.path=/data"],
        "env": [{"name": "GODEBUG", "value": "netdns=go"}],
        "ports": [{"containerPort": _PORT}],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": _PORT}, "periodSeconds": 1},
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    }
    volumes: list[Json] = [{"name": k, "configMap": {"name": v}} for k, v in maps.items()]
    spec = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [*volumes, {"name": "data", "emptyDir": {}}],
    }
    return _object("v1", "Pod", spec=spec)
