"""Write k8s/ from the charts: ``PYTHONPATH=tests .venv/bin/python -m support.k8s_manifests``.

k8s/base/<component> gets what ``helm template`` renders with k8s/values/one-node.yaml, without what
only Helm needs; k8s/overlays/production the patches that make it into what the charts render with
production.yaml over it. Kustomizations, relay.yaml and secrets.sh are written by hand.
"""

import copy
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from support.helm import CHARTS, ROOT, Helm, Manifest, helm_clients
from support.strategic_merge import patch, removal

K8S = ROOT / "k8s"
PRODUCTION = K8S / "overlays" / "production"
ONE_NODE_VALUES = (K8S / "values" / "one-node.yaml",)
PRODUCTION_VALUES = (*ONE_NODE_VALUES, K8S / "values" / "production.yaml")
# Stands for the namespace until it is known.
_NAMESPACE = "namespace-of-the-release"
_DOMAIN = f".{_NAMESPACE}.svc.cluster.local"
_HELM_LABELS = ("app.kubernetes.io/managed-by", "helm.sh/chart")
# Certificates and passwords come from secrets.sh: nothing changes when Helm makes up others.
_HELM_ANNOTATIONS = ("helm.sh/resource-policy", "checksum/tls")
# In relay.yaml, which is to be filled in.
_RELAY_SETTINGS = ("MAILTOPIC_SMTP__", "MAILTOPIC_FROM__")
_JAR = "kafka-agent.jar"

Objects = dict[tuple[str, str], Manifest]


def rendered(helm: Helm, values: Sequence[Path]) -> Objects:
    """Return what the chart installs with values, as kustomize is to build it, by kind and name.

    Left out are Secrets, hooks, and what Helm keeps for its own next upgrade.
    """
    objects = helm.template("mailtopic", files=values, namespace=_NAMESPACE)
    kept = [_without_helm(each) for each in objects if not _is_helms(each)]
    found = {(each["kind"], each["metadata"]["name"]): each for each in kept}
    assert _NAMESPACE not in yaml.safe_dump(kept), "a namespace is left"
    return found


def by_component(objects: Objects) -> dict[str, Objects]:
    """Return the objects by the chart that they are of."""
    groups: dict[str, Objects] = {}
    for key, each in objects.items():
        groups.setdefault(each["metadata"]["labels"]["app.kubernetes.io/name"], {})[key] = each
    return groups


def files(helm: Helm) -> dict[Path, bytes]:
    """Return what each of the written files is to hold."""
    one_node = by_component(rendered(helm, ONE_NODE_VALUES))
    production = by_component(rendered(helm, PRODUCTION_VALUES))
    written: dict[Path, bytes] = {}
    for name, objects in one_node.items():
        folder = K8S / "base" / name
        written[folder / f"{name}.yaml"] = _document(_without_jar(objects.values()))
        if name in production:
            changes = _changes(objects, production[name])
            written |= _named(PRODUCTION / f"{name}.yaml", changes.patches)
            written |= _named(PRODUCTION / f"{name}-added.yaml", changes.added)
            for removed in changes.removals:
                file = f"{name}-without-{removed['kind'].lower()}.yaml"
                written |= _named(PRODUCTION / file, [removed])
    written[K8S / "base" / "kafka" / _JAR] = (CHARTS / "kafka" / "files" / _JAR).read_bytes()
    return written


def outdated(wanted: Mapping[Path, bytes]) -> list[Path]:
    """Return the files that are missing or hold something else."""
    return [
        path for path, text in wanted.items() if not path.is_file() or path.read_bytes() != text
    ]


def _is_helms(each: Manifest) -> bool:
    annotations = each["metadata"].get("annotations", {})
    is_identity = each["kind"] == "ConfigMap" and each["metadata"]["name"].endswith("-identity")
    return each["kind"] == "Secret" or "helm.sh/hook" in annotations or is_identity


def _without_helm(each: Manifest) -> Manifest:
    each["metadata"].pop("namespace", None)
    for metadata in _metadata(each):
        for field, names in (("labels", _HELM_LABELS), ("annotations", _HELM_ANNOTATIONS)):
            for name in names:
                metadata.get(field, {}).pop(name, None)
            if metadata.get(field) == {}:
                del metadata[field]
    for subject in each.get("subjects", []):
        # An account of the binding's own namespace.
        subject.pop("namespace", None)
    if each["kind"] == "ConfigMap":
        each.get("data", {}).update(
            {name: _without_namespace(name, text) for name, text in each.get("data", {}).items()}
        )
    return each


def _metadata(each: Manifest) -> Iterator[dict[str, Any]]:
    yield each["metadata"]
    if "metadata" in each.get("spec", {}).get("template", {}):
        yield each["spec"]["template"]["metadata"]


def _without_namespace(name: str, text: str) -> str:
    if name in ("broker.properties", "controller.properties"):
        # Clients in other namespaces get these names, so they stay whole.
        return text.lstrip("\n").replace(_NAMESPACE, "${env:POD_NAMESPACE}")
    return text.replace(_DOMAIN, "")


def _without_jar(objects: Iterable[Manifest]) -> list[Manifest]:
    return [each for each in objects if _JAR not in each.get("binaryData", {})]


class _Changes(NamedTuple):
    """What an overlay does to a component.

    Removals are kept apart because each needs a file of its own: kustomize 5.4.2 to 5.6.0, which is
    in kubectl 1.32, crashes on a removal beside other patches.
    """

    patches: list[Manifest]
    removals: list[Manifest]
    added: list[Manifest]


def _changes(before: Objects, after: Objects) -> _Changes:
    changes = _Changes([], [], [each for key, each in after.items() if key not in before])
    for key, each in before.items():
        if key not in after:
            changes.removals.append(removal(each))
        elif (known := _with_relay(each, after[key])) != after[key]:
            changes.patches.append(patch(known, after[key]))
    return changes


def _with_relay(before: Manifest, after: Manifest) -> Manifest:
    """Return an object with the relay's settings of another one: they need no patch."""
    if before["kind"] != "Deployment":
        return before
    known = copy.deepcopy(before)
    wanted = {each["name"]: each for each in _env(after) if _is_relays(each["name"])}
    others = [each for each in _env(before) if each["name"] not in wanted]
    _env(known)[:] = [*others, *wanted.values()]
    return known


def _is_relays(variable: str) -> bool:
    # Where a file is mounted is nothing to fill in.
    return variable.startswith(_RELAY_SETTINGS) and not variable.endswith("_FILE")


def _env(deployment: Manifest) -> list[Manifest]:
    env: list[Manifest] = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return env


def _named(path: Path, objects: Sequence[Manifest]) -> dict[Path, bytes]:
    return {path: _document(objects)} if objects else {}


class _Dumper(yaml.SafeDumper):
    """Several lines as a block, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - the base class's signature
        super().increase_indent(flow, False)


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def _document(objects: Sequence[Manifest]) -> bytes:
    head = "# Written from the charts by support.k8s_manifests; see k8s/README.md.\n"
    parts = [yaml.dump(each, Dumper=_Dumper, sort_keys=False, width=100) for each in objects]
    return (head + "---\n".join(parts)).encode()


def main() -> None:
    """Write what is outdated; say what was."""
    clients = helm_clients()
    if not clients:
        sys.exit("there is no helm: `make cluster` builds it, or name one: MAILTOPIC_HELM")
    wanted = files(clients[-1])
    for path in outdated(wanted):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wanted[path])
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
