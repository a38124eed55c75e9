"""Sealing keys: a mail's variables encrypted, so that no code is readable in a topic or a backup.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce; `mail_seal` says which associated data
binds the variables to their mail. Keys have ids, so they can be rotated: give every reader the new
key first, then make it active for the writers.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Self, TypeGuard

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from mailtopic_contract.address import Address
from mailtopic_contract.errors import KeyRingError, SealingError

KEY_BYTES = 32
NONCE_BYTES = 12
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TAG = b"mailtopic: tags of recipients"
_TAG_DIGITS = 12
_TEXT = frozenset({str})
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_BLOCK_BYTES = 64  # of SHA-256, which no key here is longer than


class Sealed(BaseModel):
    """Sealed variables in a record: version, key id, nonce and ciphertext (both base64).

    Version 1 has no ``v``.
    """

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True, strict=True)

    v: int | None = None
    kid: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    n: str = Field(max_length=64)
    ct: str = Field(max_length=262_144)

    @property
    def version(self) -> int:
        """The version of the sealing; it may be unknown here."""
        return 1 if self.v is None else self.v


class KeyRing:
    """Sealing keys by id, one of them active: it seals, all of them unseal.

    Its repr shows only key ids, never a key.
    """

    def __init__(self, *, active: str, keys: Mapping[str, bytes]) -> None:
        if active not in keys:
            raise KeyRingError("the active key is not among the keys")
        if not all(_KEY_ID.fullmatch(kid) for kid in keys):
            raise KeyRingError("a key's id has 1 to 64 ASCII letters, digits, dots, _ and -")
        if any(len(key) != KEY_BYTES for key in keys.values()):
            raise KeyRingError(f"every key must have {KEY_BYTES} bytes")
        self.active = active
        self._keys = dict(keys)
        self._ciphers = {kid: AESGCM(key) for kid, key in keys.items()}
        # Derived, so that each key has one use (NIST SP 800-57 Part 1 §5.2).
        self._taggers = {
            kid: _Tagger(hmac.digest(key, _TAG, "sha256")) for kid, key in keys.items()
        }

    @classmethod
    def generate(cls, kid: str = "k1") -> Self:
        """Return a ring with one new random key."""
        return cls(active=kid, keys={kid: secrets.token_bytes(KEY_BYTES)})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a ring from a file: ``{"active": "k1", "keys": {"k1": "<base64, 32 bytes>"}}``.

        Raises:
            KeyRingError: the file can't be read or holds something else; the text is one line.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise KeyRingError(f"the key file {path} can't be read: {reason}") from None
        try:
            return cls.parse(text)
        except KeyRingError as error:
            raise KeyRingError(f"the key file {path} is not usable: {error}") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a ring from the text of a key file.

        Raises:
            KeyRingError: the text is something else.
        """
        try:
            data = json.loads(text)
            active, encoded = data["active"], data["keys"]
            keys = {kid: base64.b64decode(key, validate=True) for kid, key in encoded.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise KeyRingError(
                'it must hold {"active": "k1", "keys": {"k1": "<base64 of 32 bytes>"}}'
            ) from None
        if not isinstance(active, str):
            raise KeyRingError("the active key's id is not a text")
        return cls(active=active, keys=keys)

    def dump(self) -> str:
        """Return the text of a key file that holds this ring: a secret."""
        keys = {kid: base64.b64encode(key).decode() for kid, key in self._keys.items()}
        return json.dumps({"active": self.active, "keys": keys}, indent=2) + "\n"

    def seal_texts(self, variables: Mapping[str, str], associated: bytes) -> tuple[str, str, str]:
        """Encrypt variables; return key id, nonce and ciphertext.

        Only with the same associated data they can be opened; it isn't part of the result.
        """
        nonce = secrets.token_bytes(NONCE_BYTES)
        plain = _to_json(dict(variables)).encode()
        sealed = self._ciphers[self.active].encrypt(nonce, plain, associated)
        return self.active, _base64(nonce), _base64(sealed)

    def open(self, sealed: Sealed, *associated: bytes) -> dict[str, str]:
        """Decrypt variables that were sealed with one of these associated data.

        Raises:
            SealingError: the key isn't in the ring; the ciphertext or the associated data was
                changed; or it doesn't hold variables.
        """
        cipher = self._ciphers.get(sealed.kid)
        if cipher is None:
            raise SealingError("the variables are sealed with a key that is not in the key ring")
        try:
            nonce = binascii.a2b_base64(sealed.n, strict_mode=True)
            ciphertext = binascii.a2b_base64(sealed.ct, strict_mode=True)
            plain = _decrypt(cipher, nonce, ciphertext, associated)
            variables = _quick_json(plain)
            if not _are_texts(variables):
                # Python's own parser decides, more slowly: it supports lone surrogates.
                variables = json.loads(plain)
        except InvalidTag:
            raise SealingError(
                "the sealed variables can't be opened: the mail was changed, or is another topic's"
            ) from None
        except (binascii.Error, ValueError, RecursionError):
            raise SealingError("the sealed variables can't be opened") from None
        if not _are_texts(variables):
            raise SealingError("the sealed variables are not texts by name")
        return variables

    def recipient_tag(self, address: Address) -> str:
        """Return a recipient's tag for logs: 12 hex digits under the active key.

        A plain hash of an address can be guessed by hashing addresses; this one only with the keys.
        Two recipients in 2^48 share a tag, so it finds mails and proves nothing.
        """
        return self._taggers[self.active].tag(address)

    def recipient_tags(self, address: Address) -> frozenset[str]:
        """Return an address's tags under all keys, to search for it after a rotation."""
        return frozenset(tagger.tag(address) for tagger in self._taggers.values())

    def __repr__(self) -> str:
        return f"KeyRing(active={self.active!r}, ids={sorted(self._keys)!r})"


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _quick_json(text: bytes) -> object:
    try:
        return from_json(text)
    except ValueError:
        return None


def _are_texts(variables: object) -> TypeGuard[dict[str, str]]:
    return isinstance(variables, dict) and _TEXT.issuperset(map(type, variables.values()))


def _decrypt(
    cipher: AESGCM, nonce: bytes, ciphertext: bytes, associated: tuple[bytes, ...]
) -> bytes:
    for candidate in associated[:-1]:
        try:
            return cipher.decrypt(nonce, ciphertext, candidate)
        except InvalidTag:
            continue
    return cipher.decrypt(nonce, ciphertext, associated[-1])


class _Tagger:
    """HMAC-SHA-256 (RFC 2104) under one key.

    The key's own two blocks are hashed once instead of for each mail, which halves the cost.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def tag(self, address: Address) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(address.normalised.encode())
        outer.update(inner.digest())
        return outer.hexdigest()[:_TAG_DIGITS]
