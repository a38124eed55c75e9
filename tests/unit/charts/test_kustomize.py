"""k8s/ installs what the charts install, without Helm."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailtopic_contract import KeyRing
from mailtopic_signup.domain.code import Peppers
from support.helm import ROOT, Helm, Manifest, pod_templates
from support.k8s_manifests import (
    K8S,
    ONE_NODE_VALUES,
    PRODUCTION_VALUES,
    files,
    outdated,
    rendered,
)
from support.kustomize import OVERLAYS, SECRETS, Kubectl, find_kubectl
from support.requirements import require
from support.strategic_merge import in_key_order

VALUES = {"one-node": ONE_NODE_VALUES, "production": PRODUCTION_VALUES}
# What only those who install it know.
THEIRS = {"one-node": set[str](), "production": {"mailtopic-signup-database", "mailtopic-relay"}}
# Kept to sign the next certificate with.
UNMOUNTED = {"one-node": set[str](), "production": {"mailtopic-kafka-ca-key"}}


Made = dict[str, dict[str, Manifest]]


@pytest.fixture(scope="module")
def kubectl() -> Kubectl:
    found = find_kubectl()
    if found is None:
        require("charts", "there is no kubectl: `make cluster` builds it, or MAILTOPIC_KUBECTL")
    return found


@pytest.fixture(scope="module")
def made(kubectl: Kubectl) -> Made:
    """The Secrets of each overlay, by name; drawing the keys of certificates takes a while."""
    if shutil.which("openssl") is None:
        require("charts", "there is no openssl")
    return {overlay: kubectl.secrets(overlay) for overlay in VALUES}


def test_the_manifests_are_what_the_charts_render(newest_helm: Helm) -> None:
    old = [str(path.relative_to(ROOT)) for path in outdated(files(newest_helm))]
    assert old == [], "run: PYTHONPATH=tests .venv/bin/python -m support.k8s_manifests"


@pytest.mark.parametrize("overlay", VALUES)
def test_an_overlay_builds_what_the_chart_renders_with_its_values(
    overlay: str, newest_helm: Helm, kubectl: Kubectl
) -> None:
    built = {
        (each["kind"], each["metadata"]["name"]): _comparable(each)
        for each in kubectl.build(OVERLAYS / overlay)
        if each["kind"] != "CustomResourceDefinition"
    }
    wanted = rendered(newest_helm, VALUES[overlay])
    assert built == {key: _comparable(each) for key, each in wanted.items()}


def test_a_removal_stands_alone_in_its_file() -> None:
    """Kustomize 5.4.2 to 5.6.0, as in kubectl 1.32, crashes on one beside other patches."""
    documents = {
        path.name: list(yaml.safe_load_all(path.read_text("utf-8")))
        for path in OVERLAYS.glob("*/*.yaml")
    }
    removals = {
        name: found for name, found in documents.items() if any("$patch" in each for each in found)
    }
    assert removals, "production needs no volume for SQLite"
    assert [name for name, found in removals.items() if len(found) > 1] == []


@pytest.mark.parametrize("overlay", VALUES)
def test_an_overlay_names_no_namespace_and_holds_no_secret(overlay: str, kubectl: Kubectl) -> None:
    built = kubectl.build(OVERLAYS / overlay)
    assert [each["kind"] for each in built if "namespace" in each["metadata"]] == []
    assert [each["metadata"]["name"] for each in built if each["kind"] == "Secret"] == []


def test_every_crd_is_in_the_base(kubectl: Kubectl) -> None:
    built = kubectl.build(K8S / "base" / "crds")
    names = {each["metadata"]["name"] for each in built}
    assert names == {path.stem for path in (K8S / "base" / "crds").glob("*.*.*.yaml")}
    assert {each["kind"] for each in built} == {"CustomResourceDefinition"}


@pytest.mark.parametrize("overlay", VALUES)
def test_secrets_sh_makes_the_secrets_that_an_overlay_mounts(
    overlay: str, made: Made, kubectl: Kubectl
) -> None:
    mine = made[overlay]
    needed = list(_needed(kubectl.build(OVERLAYS / overlay)))
    names = {name for name, _ in needed}
    assert names == (set(mine) | THEIRS[overlay]) - UNMOUNTED[overlay]
    missing = [
        (name, key) for name, key in needed if name in mine and key not in mine[name]["data"]
    ]
    assert missing == []


def test_the_services_can_read_the_keys_that_secrets_sh_makes(made: Made, tmp_path: Path) -> None:
    rings = {
        overlay: _value(mine["mailtopic-sealing-keys"], "keys.json").decode()
        for overlay, mine in made.items()
    }
    assert {KeyRing.parse(ring).active for ring in rings.values()} == {"k1"}
    assert rings["one-node"] != rings["production"], "each run draws keys of its own"
    pepper = tmp_path / "keys.json"
    pepper.write_bytes(_value(made["production"]["mailtopic-signup-pepper"], "keys.json"))
    Peppers.load(pepper)


@pytest.mark.parametrize(
    ("overlay", "secret", "host"),
    [
        ("one-node", "mailtopic-inbox-tls", "mailtopic-inbox"),
        ("production", "mailtopic-kafka-ca", "mailtopic-kafka.mail.svc.cluster.local"),
        (
            *("production", "mailtopic-kafka-ca"),
            "mailtopic-kafka-2.mailtopic-kafka-headless.mail.svc.cluster.local",
        ),
    ],
)
def test_a_certificate_that_secrets_sh_makes_is_good_for_the_names_that_clients_use(
    overlay: str, secret: str, host: str, made: Made, tmp_path: Path
) -> None:
    for key in ("ca.crt", "tls.crt"):
        (tmp_path / key).write_bytes(_value(made[overlay][secret], key))
    # Strict, as Python checks certificates from 3.13 on.
    checking = ["-x509_strict", "-purpose", "sslserver", "-verify_hostname", host]
    checked = subprocess.run(  # noqa: S603 - fixed arguments
        ["openssl", "verify", *checking, "-CAfile", "ca.crt", "tls.crt"],  # noqa: S607 - on the PATH
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("arguments", [[], ["staging"], ["one-node", "--namespace"]])
def test_secrets_sh_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - our own script
        [SECRETS, *arguments], check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert "k8s/secrets.sh:" in done.stderr


def _comparable(each: Manifest) -> Any:
    if "binaryData" in each:
        # kustomize breaks the lines of what is binary.
        data = {name: base64.b64decode(text) for name, text in each["binaryData"].items()}
        return {**each, "binaryData": data}
    return in_key_order(each)


def _needed(objects: list[Manifest]) -> Iterator[tuple[str, str]]:
    """Every Secret that a pod mounts, with each key of it."""
    for template in pod_templates(objects).values():
        for volume in template["spec"].get("volumes", []):
            sources = volume.get("projected", {}).get("sources", [])
            for secret in [volume.get("secret"), *(each.get("secret") for each in sources)]:
                if secret is not None:
                    name = secret.get("secretName") or secret["name"]
                    yield from ((name, item["key"]) for item in secret.get("items", []))
                    # Brokers read these from a Secret that is mounted as a whole.
                    if "items" not in secret:
                        yield from ((name, key) for key in ("tls.crt", "tls.key"))
        assert "secretKeyRef" not in json.dumps(template), "secrets are files"


def _value(secret: Manifest, key: str) -> bytes:
    return base64.b64decode(secret["data"][key])
