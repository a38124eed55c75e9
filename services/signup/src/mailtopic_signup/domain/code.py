"""One-time codes, and how they are stored: as a MAC under a key that the database never sees.

HMAC-SHA-256 under a pepper (NIST SP 800-63B §3.1.3.2), bound to challenge, purpose and address: a
stored MAC can neither be reversed by trying all codes nor be moved to another challenge. Peppers
have ids, so that they can be rotated: the active one writes, all of them verify.
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
UNMATCHABLE = bytes(hashlib.sha256().digest_size)
"""A digest that no code has; that one had it by chance is as likely as guessing a pepper."""


class PepperError(ValueError):
    """A pepper file can't be used; the text is one line and shows no key."""


def new_code(length: int) -> str:
    """Return that many random decimal digits from the system's secure generator."""
    return f"{secrets.randbelow(10**length):0{length}}"


@dataclass(frozen=True, slots=True)
class CodeBinding:
    """What a code is for: it is worth nothing anywhere else."""

    challenge_id: str
    purpose: str
    address: str


@dataclass(frozen=True, slots=True)
class CodeMac:
    """A code as it is stored: the pepper's id and 32 bytes."""

    key_id: str
    digest: bytes

    def unmatchable(self) -> "CodeMac":
        """Return what is stored in place of it where no code may match."""
        return CodeMac(self.key_id, UNMATCHABLE)


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
        """Take over another's keys, for everybody who holds this object."""
        self._active, self._keys = newer._active, newer._keys  # noqa: SLF001 - one of our own

    def mac(self, code: str, binding: CodeBinding) -> CodeMac:
        """Return what is stored of a code, under the active pepper."""
        return CodeMac(self._active, _digest(self._keys[self._active], code, binding))

    def matches(self, stored: CodeMac, code: str, binding: CodeBinding) -> bool:
        """Tell in constant time whether a code is the stored one.

        A code stored under a pepper that was taken away matches nothing.
        """
        key = self._keys.get(stored.key_id)
        # The digest is computed in any case, so that time doesn't tell of missing keys.
        digest = _digest(key or b"\0" * MIN_PEPPER_BYTES, code, binding)
        return hmac.compare_digest(digest, stored.digest) and key is not None

    def tags(self, text: str) -> tuple[str, ...]:
        """Return 64 hex digits for a text that must be recognised but not be stored.

        One for each pepper, the active one's first: store the first, recognise by any of them.
        """
        # Another use of the key than codes', and no input is one of both (RFC 5869 §3.2).
        message = b"mailtopic tag\0" + text.encode()
        active_first = sorted(self._keys, key=lambda key_id: key_id != self._active)
        return tuple(
            hmac.new(self._keys[key_id], message, hashlib.sha256).hexdigest()
            for key_id in active_first
        )

    def __repr__(self) -> str:
        return f"Peppers(active={self._active!r}, ids={sorted(self._keys)!r})"


def _is_id(key_id: str) -> bool:
    # It is stored beside each code: neither NUL nor half a surrogate pair can be.
    return 0 < len(key_id) <= MAX_KEY_ID_LENGTH and key_id.isprintable()


def _digest(key: bytes, code: str, binding: CodeBinding) -> bytes:
    parts = (binding.challenge_id, binding.purpose, binding.address, code)
    encoded = [part.encode() for part in parts]
    # Lengths in front, so that no two different bindings give the same bytes.
    message = b"".join(len(part).to_bytes(4) + part for part in encoded)
    return hmac.digest(key, message, "sha256")
