"""The certificates of one cluster, made anew for each and valid for a year."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .node_settings import API_SERVICE_IP, CLUSTER_DOMAIN, NODE_IP, NODE_NAME

_LIFETIME = dt.timedelta(days=365)
# A clock that stands a little behind must not find the certificates too young.
_BACKDATING = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class _Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


@dataclass(frozen=True)
class _Leaf:
    """A certificate to be: whom it names, and for a server where it is reached."""

    name: str
    common_name: str
    organisation: str | None = None
    hosts: tuple[str, ...] = ()


_NODE_USER = f"system:node:{NODE_NAME}"
_API_HOSTS = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
    "localhost",
    "127.0.0.1",
    NODE_IP,
    API_SERVICE_IP,
)
_LEAVES = (
    _Leaf("apiserver", "kube-apiserver", hosts=_API_HOSTS),
    _Leaf("kubelet-serving", _NODE_USER, "system:nodes", hosts=(NODE_NAME, NODE_IP, "127.0.0.1")),
    _Leaf("apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters"),
    _Leaf("admin", "admin", "system:masters"),
    _Leaf("agent", "mailtopic-node-agent", "system:masters"),
    _Leaf("kubelet", _NODE_USER, "system:nodes"),
    _Leaf("controller-manager", "system:kube-controller-manager"),
    _Leaf("scheduler", "system:kube-scheduler"),
    _Leaf("proxy", "system:kube-proxy"),
)


def write_pki(folder: Path) -> None:
    """Write two authorities, the certificates they sign, and the key of service accounts."""
    folder.mkdir(parents=True, mode=0o700)
    authority = _make_authority(folder, "ca", "kubernetes")
    for leaf in _LEAVES:
        _issue(folder, authority, leaf)
    front_proxy = _make_authority(folder, "front-proxy-ca", "front-proxy-ca")
    _issue(folder, front_proxy, _Leaf("front-proxy-client", "front-proxy-client"))
    key = ec.generate_private_key(ec.SECP256R1())
    _write_key(folder / "service-accounts.key", key)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "service-accounts.pub").write_bytes(public)


def _make_authority(folder: Path, name: str, common_name: str) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(common_name, None)
    usage = _key_usage(signs_certificates=True)
    certificate = (
        _builder(subject, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_key(folder / f"{name}.key", key)
    _write_certificate(folder / f"{name}.crt", certificate)
    return _Authority(key, certificate)


def _issue(folder: Path, authority: _Authority, leaf: _Leaf) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if leaf.hosts else ExtendedKeyUsageOID.CLIENT_AUTH
    subject = _subject(leaf.common_name, leaf.organisation)
    builder = (
        _builder(subject, authority.certificate.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )
    if leaf.hosts:
        names = x509.SubjectAlternativeName([_general_name(host) for host in leaf.hosts])
        builder = builder.add_extension(names, critical=False)
    _write_key(folder / f"{leaf.name}.key", key)
    _write_certificate(folder / f"{leaf.name}.crt", builder.sign(authority.key, hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATING)
        .not_valid_after(now + _LIFETIME)
    )


def _subject(common_name: str, organisation: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
