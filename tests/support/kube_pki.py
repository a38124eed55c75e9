"""Certificates of a throw-away Kubernetes API: one authority, a server, and users."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = dt.timedelta(days=2)
_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class KubePki:
    """An authority and its certificates, as PEM files in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-authority")])
        builder = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        self._certificate = (
            builder.add_extension(usage, critical=True)
            .add_extension(self._key_id(), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.ca = self._write("ca.crt", self._certificate.public_bytes(_PEM))
        server = self._issue("api-server", ExtendedKeyUsageOID.SERVER_AUTH, ())
        self.server_certificate, self.server_key = server
        tokens = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.token_key = self._write("tokens.key", _private_bytes(tokens))

    def kubeconfig(self, url: str, user: str, groups: Sequence[str] = ()) -> Path:
        """Return a kubeconfig by which the user, a member of the groups, logs in at the URL."""
        certificate, key = self._issue(user, ExtendedKeyUsageOID.CLIENT_AUTH, groups)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "test", "cluster": {"server": url, "certificate-authority": str(self.ca)}}
            ],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate": str(certificate), "client-key": str(key)},
                }
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
        return self._write(f"{_file(user)}.kubeconfig", yaml.safe_dump(config).encode())

    def _issue(
        self, name: str, usage: x509.ObjectIdentifier, groups: Sequence[str]
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
            + [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        )
        certificate = (
            self._builder(subject, key)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName(
                    [
                        x509.DNSName("localhost"),
                        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    ]
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return (
            self._write(f"{_file(name)}.crt", certificate.public_bytes(_PEM)),
            self._write(f"{_file(name)}.key", _private_bytes(key)),
        )

    def _builder(self, subject: x509.Name, key: _PrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _VALID)
            .not_valid_after(now + _VALID)
        )

    def _key_id(self) -> x509.SubjectKeyIdentifier:
        return x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())

    def _write(self, name: str, content: bytes) -> Path:
        path = self._directory / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path


_PEM = serialization.Encoding.PEM


def _file(name: str) -> str:
    return name.replace(":", "-").replace("/", "-")


def _private_bytes(key: _PrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
