"""One-time codes, and how they are stored: as a seed that is useless without a pepper.

A code is a function of a seed, which only the database holds, and of a pepper, which the database
never sees (HMAC-SHA-256; NIST SP 800-63B §3.1.3.2), bound to purpose and address: it can be mailed
again, and a stolen database holds no code. Peppers have ids, so that they can be rotated: the
active one makes codes, all of them verify.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MIN_PEPPER_BYTES = 16
MAX_KEY_ID_LENGTH = 64
SEED_BYTES = 16
LONG_CODE_LENGTH = 16
"""Decimal digits of a code that needs no limit on tries: 53 bits, see ADR 0027."""


class PepperError(ValueError):
    """A pepper file can't be used; the text is one line and shows no key."""


def new_seed() -> bytes:
    """Return a seed from the system's secure generator."""
    return secrets.token_bytes(SEED_BYTES)


@dataclass(frozen=True, slots=True)
class CodeBinding:
    """What a code is bound to: it is valid nowhere else.

    ``challenge_id`` is empty where a code is for any challenge of the address.
    """

    challenge_id: str
    purpose: str
    address: str


@dataclass(frozen=True, slots=True, repr=False)
class CodeSeed:
    """What codes are made of: a pepper's id and random bytes. Its repr shows the id only."""

    key_id: str
    seed: bytes

    def __repr__(self) -> str:
        return f"CodeSeed(key_id={self.key_id!r})"


class Peppers:
    """Pepper keys by id, one of them active. Its repr names ids only."""

    def __init__(self, *, active: str, keys: Mapping[str, bytes]) -> None:
        if active not in keys:
            raise PepperError("the active key is not among the keys")
        if any(len(key) < MIN_PEPPER_BYTES for key in keys.values()):
            raise PepperError(f"every key must have at least {MIN_PEPPER_BYTES} bytes")
        if any(not _is_id(key_id) for key_id in keys):
            raise PepperError(f"a key's id has 1 to {MAX_KEY_ID_LENGTH} printable characters")
        self._active = active
        self._keys = dict(keys)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read peppers from a file: ``{"active": "p1", "keys": {"p1": "<base64>"}}``.

        Raises:
            PepperError: the file can't be read or holds something else.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8-sig"))
            active, encoded = data["active"], data["keys"]
            keys = {kid: base64.b64decode(key, validate=True) for kid, key in encoded.items()}
        except OSError as error:
            raise PepperError(f"the file {path} can't be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise PepperError(
                f'the file {path} must hold {{"active": "p1", "keys": {{"p1": "<base64>"}}}}'
            ) from None
        if not isinstance(active, str):
            raise PepperError(f"in the file {path} the active key's id is not a text")
        try:
            return cls(active=active, keys=keys)
        except PepperError as error:
            raise PepperError(f"the file {path} is not usable: {error}") from None

    def adopt(self, newer: "Peppers") -> None:
        """Take over another's keys, for all users of this object."""
        self._active, self._keys = newer._active, newer._keys  # noqa: SLF001 - one of our own

    @property
    def active(self) -> str:
        """The id of the pepper that makes codes."""
        return self._active

    def code(self, seed: CodeSeed, binding: CodeBinding, length: int) -> str | None:
        """Return the code of that many decimal digits; None if its pepper was removed."""
        key = self._keys.get(seed.key_id)
        if key is None:
            return None
        # With 256 bits the modulo bias is too small to show in any number of tries.
        return f"{int.from_bytes(_digest(key, seed.seed, binding)) % 10**length:0{length}}"

    def matches(self, seed: CodeSeed, binding: CodeBinding, code: str) -> bool:
        """Return in constant time whether a code is the one that `code` returns."""
        expected = self.code(seed, binding, len(code))
        return expected is not None and hmac.compare_digest(expected.encode(), code.encode())

    def tags(self, text: str) -> tuple[str, ...]:
        """Return 64 hex digits for a text that must be recognised but not stored.

        One for each pepper, the active one's first: store the first, recognise by any of them.
        """
        # Codes use the key as well: the prefix keeps the inputs distinct (RFC 5869 §3.2).
        message = b"mailtopic tag\0" + text.encode()
        active_first = sorted(self._keys, key=lambda key_id: key_id != self._active)
        return tuple(
            hmac.new(self._keys[key_id], message, hashlib.sha256).hexdigest()
            for key_id in active_first
        )

    def __repr__(self) -> str:
        return f"Peppers(active={self._active!r}, ids={sorted(self._keys)!r})"


def _is_id(key_id: str) -> bool:
    # It is stored with each code; NUL and lone surrogates can't be.
    return 0 < len(key_id) <= MAX_KEY_ID_LENGTH and key_id.isprintable()


def _digest(key: bytes, seed: bytes, binding: CodeBinding) -> bytes:
    parts = (seed, *(each.encode() for each in _parts(binding)))
    # Length prefixes, so that different bindings never give the same bytes. Tags use the key as
    # well: the first prefix keeps the inputs distinct (RFC 5869 §3.2).
    message = b"mailtopic code\0" + b"".join(len(part).to_bytes(4) + part for part in parts)
    return hmac.digest(key, message, "sha256")


def _parts(binding: CodeBinding) -> tuple[str, str, str]:
    return binding.challenge_id, binding.purpose, binding.address
