"""Certificates, kubeconfigs and images that other programs read."""

import base64
import datetime as dt
import hashlib
import json
import tarfile
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from localcluster.images import write_image
from localcluster.kubeconfigs import kubeconfig
from localcluster.pki import write_pki
from mailtopic_cli.cluster.given import write_kubeconfig


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "pki"
    write_pki(folder)
    return folder


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_certificates_are_signed_by_their_authority_and_live_a_year(pki: Path) -> None:
    for name in ("apiserver", "kubelet-serving", "admin", "agent", "kubelet", "proxy"):
        issued = certificate(pki / f"{name}.crt")
        issued.verify_directly_issued_by(certificate(pki / "ca.crt"))
        assert issued.not_valid_after_utc - dt.datetime.now(dt.UTC) < dt.timedelta(days=366)
    front = certificate(pki / "front-proxy-client.crt")
    front.verify_directly_issued_by(certificate(pki / "front-proxy-ca.crt"))


def test_the_nodes_certificates_bear_the_names_that_the_api_server_authorizes(pki: Path) -> None:
    subject = certificate(pki / "kubelet.crt").subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:mailtopic"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"


def test_the_api_server_is_found_under_its_address_here_and_inside(pki: Path) -> None:
    extension = certificate(pki / "apiserver.crt").extensions.get_extension_for_oid(
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME
    )
    names = extension.value
    assert isinstance(names, x509.SubjectAlternativeName)
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert {"127.0.0.1", "10.96.0.1", "10.250.0.2"} <= addresses


def test_private_keys_are_for_their_owner_only(pki: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in pki.glob("*.key")}
    assert set(modes.values()) == {0o600}


def test_a_kubeconfig_holds_all_that_it_needs(pki: Path, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, kubeconfig(pki=pki, identity="admin", server="https://127.0.0.1:1"))
    assert path.stat().st_mode & 0o777 == 0o600
    document = yaml.safe_load(path.read_text())
    cluster = document["clusters"][0]["cluster"]
    assert cluster["server"] == "https://127.0.0.1:1"
    encoded = document["users"][0]["user"]["client-certificate-data"]
    assert base64.b64decode(encoded) == (pki / "admin.crt").read_bytes()


def test_an_image_is_the_same_for_the_same_program_and_its_digests_are_true(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_bytes(b"\x7fELF something")
    archives = [tmp_path / "one.tar", tmp_path / "two.tar"]
    for archive in archives:
        write_image(archive, name="localhost/tool:1", program=program)
    assert archives[0].read_bytes() == archives[1].read_bytes()

    with tarfile.open(archives[0]) as tar:
        contents = {
            member.name: stream.read()
            for member in tar.getmembers()
            if (stream := tar.extractfile(member))
        }
    for name, content in contents.items():
        if name.startswith("blobs/sha256/"):
            assert name.removeprefix("blobs/sha256/") == hashlib.sha256(content).hexdigest()
    (entry,) = json.loads(contents["index.json"])["manifests"]
    assert entry["annotations"] == {"io.containerd.image.name": "localhost/tool:1"}
    manifest = json.loads(contents[f"blobs/{entry['digest'].replace(':', '/')}"])
    config = json.loads(contents[f"blobs/{manifest['config']['digest'].replace(':', '/')}"])
    assert config["config"]["Entrypoint"] == ["/tool"]
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
