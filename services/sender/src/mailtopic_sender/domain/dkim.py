"""DKIM signatures (RFC 6376, RFC 8463): a header field in which a domain vouches for a mail.

Canonicalisation is relaxed/relaxed, the whole body is signed (no ``l=``), and From, To, Subject,
Date and Message-ID are signed once more than they occur, so that none can be added. ``t=`` is the
time of acceptance, and both algorithms are deterministic: a mail sent again has the same bytes.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

ADVISED_RSA_BITS: Final = 2048
_LEAST_RSA_BITS: Final = 1024
"""RFC 8301 §3.2: verifiers reject shorter keys; signers should use at least the advised size."""

_OVERSIGNED: Final = (b"from", b"to", b"subject", b"date", b"message-id")
_SIGNED: Final = (
    *_OVERSIGNED,
    b"mime-version",
    b"content-type",
    b"content-language",
    b"auto-submitted",
)
_LINE: Final = 74
_FIELD_START: Final = re.compile(rb"\r\n(?![ \t])")
_WHITE: Final = re.compile(rb"[ \t]+")
_WHITE_AT_LINE_END: Final = re.compile(rb" (?=\r\n)")


class DkimKeyError(ValueError):
    """A key that can't sign. The text says what is wrong and reveals nothing of the key."""


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A private key under its selector.

    Attributes:
        selector: the public key is in the DNS at ``<selector>._domainkey.<domain>``.
        algorithm: ``rsa-sha256`` or ``ed25519-sha256``, by the key's type.
        is_short: whether it is an RSA key with fewer bits than advised.
        public: the public key for its DNS record's ``p=`` (RFC 6376 §3.6.1, RFC 8463 §4.2).
    """

    selector: str
    algorithm: str
    is_short: bool
    public: str
    sign: Callable[[bytes], bytes] = field(repr=False)

    @classmethod
    def from_pem(cls, selector: str, pem: bytes) -> "DkimKey":
        """Return the key of a PEM text (PKCS#8, or PKCS#1 for RSA), unencrypted.

        Raises:
            DkimKeyError: it isn't a private key of a type and size that verifiers accept.
        """
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise DkimKeyError("it holds no unencrypted private key in PEM") from None
        if isinstance(key, Ed25519PrivateKey):
            # RFC 8463 §3: the hash is signed.
            return cls(
                selector,
                "ed25519-sha256",
                is_short=False,
                public=_base64(key.public_key().public_bytes_raw()),
                sign=lambda data: key.sign(hashlib.sha256(data).digest()),
            )
        if not isinstance(key, RSAPrivateKey):
            raise DkimKeyError("the key is neither RSA nor Ed25519")
        if key.key_size < _LEAST_RSA_BITS:
            raise DkimKeyError(f"the RSA key has fewer than {_LEAST_RSA_BITS} bits")
        return cls(
            selector,
            "rsa-sha256",
            is_short=key.key_size < ADVISED_RSA_BITS,
            public=_base64(
                key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            ),
            sign=lambda data: key.sign(data, PKCS1v15(), SHA256()),
        )


class DkimSigner:
    """Signs the messages of one domain, once with each key. Immutable, pure."""

    def __init__(self, domain: str, keys: Sequence[DkimKey]) -> None:
        self._keys = tuple(
            (
                key.sign,
                b"DKIM-Signature: v=1; a=%s; c=relaxed/relaxed;\r\n d=%s;\r\n s=%s; t="
                % (key.algorithm.encode(), domain.encode(), key.selector.encode()),
            )
            for key in keys
        )

    def sign(self, header: bytes, body: bytes, *, signed_at_s: int) -> bytes:
        """Return the signature fields of a message, to be put before its header.

        Args:
            header: the header, each line ended by CRLF, without the empty line.
            body: the content after the empty line, ended by CRLF.
            signed_at_s: for ``t=``, epoch seconds.
        """
        signed, names = _signed_fields(header)
        digest = b64encode(hashlib.sha256(relaxed_body(body)).digest())
        rest = b"%d;\r\n h=%s;\r\n bh=%s;\r\n b=" % (signed_at_s, names, digest)
        fields: list[bytes] = []
        for sign, start in self._keys:
            unsigned = start + rest
            signature = b64encode(sign(signed + relaxed_field(unsigned)))
            fields += (unsigned, _folded(signature), b"\r\n")
        return b"".join(fields)


def relaxed_field(header_field: bytes) -> bytes:
    """Return a field, given without its last CRLF, in relaxed form (RFC 6376 §3.4.2)."""
    name, _, value = header_field.partition(b":")
    unfolded = value.replace(b"\r\n", b"")
    return name.strip().lower() + b":" + _WHITE.sub(b" ", unfolded).strip()


def relaxed_body(body: bytes) -> bytes:
    """Return a body in relaxed form (RFC 6376 §3.4.4); a body of only line ends becomes empty."""
    if b"  " in body or b"\t" in body:
        body = _WHITE.sub(b" ", body)
    if b" \r\n" in body:
        body = _WHITE_AT_LINE_END.sub(b"", body)
    stripped = body.rstrip(b"\r\n")
    return stripped + b"\r\n" if stripped else b""


_remembered_field = lru_cache(maxsize=512)(relaxed_field)
"""Most fields of a mail equal those of the previous mail."""


def _signed_fields(header: bytes) -> tuple[bytes, bytes]:
    """Return the signed fields, each ended by CRLF, and the value of ``h=``."""
    found = [
        relaxed
        for each in _FIELD_START.split(header.removesuffix(b"\r\n"))
        if (relaxed := _remembered_field(each)).partition(b":")[0] in _SIGNED
    ]
    names = [relaxed.partition(b":")[0] for relaxed in found]
    # RFC 6376 §5.4.2: of fields with one name, the last is signed first.
    signed = b"".join(each + b"\r\n" for each in reversed(found))
    return signed, _names(tuple(reversed(names)))


@lru_cache(maxsize=64)
def _names(present: tuple[bytes, ...]) -> bytes:
    names = (*present, *_OVERSIGNED)
    lines = [names[start : start + 5] for start in range(0, len(names), 5)]
    return b":\r\n  ".join(b":".join(line) for line in lines)


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode()


def _folded(text: bytes) -> bytes:
    first = text[: _LINE - 2]
    rest = [text[start : start + _LINE] for start in range(len(first), len(text), _LINE)]
    return b"\r\n ".join((first, *rest))
