"""DKIM keys for a test: private ones as PEM, public ones as the DNS would show them."""

from base64 import b64encode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

DOMAIN = "example.com"


def rsa_key(bits: int = 2048) -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=bits)


def pem(key: RSAPrivateKey | Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def record(key: RSAPrivateKey | Ed25519PrivateKey) -> str:
    """The TXT record (RFC 6376 §3.6.1, RFC 8463 §4)."""
    if isinstance(key, Ed25519PrivateKey):
        kind, public = "ed25519", key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        kind = "rsa"
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k={kind}; p={b64encode(public).decode()}"
