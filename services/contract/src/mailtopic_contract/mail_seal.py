"""Sealing a mail: its variables encrypted and bound to the rest of the mail and to its topic.

Version 2 binds id, topic, recipient, purpose, locale and both times: the variables of a mail in
which one of them was changed, or that was copied to another topic, can't be opened. Version 1
binds the id alone. docs/security/sealing.md specifies both, byte by byte, for other languages.
"""

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple
from uuid import UUID

from mailtopic_contract.errors import SealingError
from mailtopic_contract.sealing import KeyRing, Sealed

SealVersion = Literal[1, 2]

_VERSION_2 = b"mailtopic-sealing-2"
_TIMES = struct.Struct(">QQ")
_LENGTH = struct.Struct(">I")


class BoundFields(NamedTuple):
    """The fields of a record that version 2 binds, as they are in its JSON; times in epoch ms."""

    id: UUID
    email: str
    purpose: str
    locale: str
    accepted_at: int
    expires_at: int


class MailSeal:
    """Seals and opens the mails of one topic.

    Args:
        keyring: the keys.
        topic: the mails' main topic: a retry topic or DLQ holds mails of its main topic.
        version: seals in this version. 1 only while senders read the topic that don't know 2.
        former_topics: main topics whose mails were moved to this one, and can be opened as well.
        opens_version_1: whether mails in version 1 can be opened: anything in them but their id
            may have been changed on the way.
    """

    __slots__ = ("_opens_version_1", "_prefixes", "_version", "keyring")

    def __init__(
        self,
        keyring: KeyRing,
        topic: str,
        *,
        version: SealVersion = 2,
        former_topics: Iterable[str] = (),
        opens_version_1: bool = True,
    ) -> None:
        self.keyring = keyring
        self._prefixes = tuple(_prefix(name) for name in (topic, *former_topics))
        self._version = version
        self._opens_version_1 = opens_version_1

    def seal(self, fields: BoundFields, variables: Mapping[str, str]) -> Sealed:
        """Encrypt a mail's variables with the active key and a fresh nonce."""
        bound = self._bound(fields)
        kid, nonce, ciphertext = self.keyring.seal_texts(variables, bound)
        return Sealed(v=None if self._version == 1 else 2, kid=kid, n=nonce, ct=ciphertext)

    def seal_json(self, fields: BoundFields, variables: Mapping[str, str]) -> str:
        """Do the same, but return the JSON of `Sealed` without creating a model."""
        head = "{" if self._version == 1 else '{"v":2,'
        kid, nonce, ciphertext = self.keyring.seal_texts(variables, self._bound(fields))
        return f'{head}"kid":"{kid}","n":"{nonce}","ct":"{ciphertext}"}}'

    def _bound(self, fields: BoundFields) -> bytes:
        return _bound_1(fields) if self._version == 1 else _bound_2(self._prefixes[0], fields)

    def open(self, fields: BoundFields, sealed: Sealed) -> dict[str, str]:
        """Decrypt a mail's variables.

        Raises:
            SealingError: the key is missing; the mail was changed or is another topic's; the
                version is unknown, or 1 where that isn't opened; or there are no variables in it.
        """
        version = sealed.version
        if version == 2:  # noqa: PLR2004 - the version's own number
            bound = [_bound_2(prefix, fields) for prefix in self._prefixes]
            return self.keyring.open(sealed, *bound)
        if version != 1:
            raise SealingError("the variables are sealed in a version that is not known here")
        if not self._opens_version_1:
            raise SealingError("the variables are sealed in version 1, which is switched off here")
        return self.keyring.open(sealed, _bound_1(fields))


def _bound_1(fields: BoundFields) -> bytes:
    return str(fields.id).encode("ascii")


def _bound_2(prefix: bytes, fields: BoundFields) -> bytes:
    mail_id, email, purpose, locale, accepted_at, expires_at = fields
    try:
        return b"".join(
            (
                prefix,
                _text(str(mail_id)),
                _text(email),
                _text(purpose),
                _text(locale),
                _TIMES.pack(accepted_at, expires_at),
            )
        )
    except (UnicodeEncodeError, struct.error):
        raise SealingError("a field of the mail is out of range") from None


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _LENGTH.pack(len(encoded)) + encoded


@lru_cache
def _prefix(topic: str) -> bytes:
    return _VERSION_2 + _text(topic)
