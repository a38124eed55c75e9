"""Service tokens, which permit sending mails through the API, and to which topics.

A token is 256 random bits behind a fixed word, which secret scanners can look for. The service has
only its SHA-256. A slow hash, as passwords need, would add nothing: 2^256 tokens can't be tried;
and one that a person made up is rejected by its form, whatever its hash.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mailtopic_contract import ContractError, TopicNames

TOKEN_PREFIX = "mailtopic_"  # noqa: S105 - no secret: what every token begins with
_TOKEN = re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{43}}")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHAPE = '{"tokens": [{"id": "billing-1", "sha256": "<64 hex digits>", "topics": ["receipts"]}]}'


class TokensError(ValueError):
    """A tokens file can't be used; the text is one line and shows no hash."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A service that presented a token: the token's id, and the topics it is for."""

    token_id: str
    topics: frozenset[str]


@dataclass(frozen=True, slots=True, repr=False)
class TokenEntry:
    """A token as the file holds it. Its repr shows no hash."""

    caller: Caller
    sha256: str

    def __post_init__(self) -> None:
        """Reject an entry that could never match, or that grants nothing.

        Raises:
            TokensError: the id, the hash or a topic is invalid, or there is no topic.
        """
        if not _ID.fullmatch(self.caller.token_id):
            raise TokensError("a token's id has 1 to 64 lower-case letters, digits, dots, _ and -")
        if not _DIGEST.fullmatch(self.sha256):
            raise TokensError("a token's sha256 has 64 lower-case hex digits")
        if not self.caller.topics:
            raise TokensError("a token needs at least one topic")
        try:
            for topic in self.caller.topics:
                TopicNames(topic)
        except ContractError as error:
            raise TokensError(str(error)) from None

    def as_json(self) -> dict[str, Any]:
        """Return the entry as in the file."""
        return {
            "id": self.caller.token_id,
            "sha256": self.sha256,
            "topics": sorted(self.caller.topics),
        }

    def __repr__(self) -> str:
        return f"TokenEntry(id={self.caller.token_id!r})"


def new_token(token_id: str, topics: Iterable[str]) -> tuple[str, TokenEntry]:
    """Return a new secret token, and its entry for the file.

    Raises:
        TokensError: the id or a topic is invalid.
    """
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    return token, TokenEntry(Caller(token_id, frozenset(topics)), _sha256(token))


class Tokens:
    """The tokens that are valid. Several may be for one topic, so that one can replace another.

    Its repr names ids only.
    """

    def __init__(self, entries: Iterable[TokenEntry] = ()) -> None:
        self._entries = tuple(entries)
        for what, values in (
            ("id", [entry.caller.token_id for entry in self._entries]),
            ("sha256", [entry.sha256 for entry in self._entries]),
        ):
            if len(set(values)) < len(values):
                raise TokensError(f"two tokens have the same {what}")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file: ``{"tokens": [{"id": …, "sha256": …, "topics": […]}]}``.

        Raises:
            TokensError: the file can't be read or holds something else.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise TokensError(f"the file {path} can't be read: {reason}") from None
        try:
            return cls.parse(text)
        except TokensError as error:
            raise TokensError(f"the file {path} is not usable: {error}") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a file.

        Raises:
            TokensError: it is something else.
        """
        try:
            entries = [_entry(each) for each in json.loads(text)["tokens"]]
        except TokensError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError):
            raise TokensError(f"it must hold {_SHAPE}") from None
        return cls(entries)

    def dump(self) -> str:
        """Return the text of a file that holds these tokens' hashes."""
        return json.dumps({"tokens": [entry.as_json() for entry in self._entries]}, indent=2) + "\n"

    def adopt(self, newer: "Tokens") -> None:
        """Take over another's tokens, for all users of this object."""
        self._entries = newer._entries  # noqa: SLF001 - one of our own

    @property
    def topics(self) -> frozenset[str]:
        """Every topic that some token is for."""
        return frozenset().union(*(entry.caller.topics for entry in self._entries))

    def find(self, token: str) -> Caller | None:
        """Return the caller that a token belongs to; None if it is unknown.

        Every entry is compared, each in constant time: the time taken reveals neither which token
        was close nor its position in the file.
        """
        is_token = _TOKEN.fullmatch(token) is not None
        shown = _sha256(token)
        found = None
        for entry in self._entries:
            if hmac.compare_digest(entry.sha256, shown) and is_token:
                found = entry.caller
        return found

    def __repr__(self) -> str:
        return f"Tokens({[entry.caller.token_id for entry in self._entries]!r})"


def _entry(data: dict[str, Any]) -> TokenEntry:
    token_id, digest, topics = data["id"], data["sha256"], data["topics"]
    texts = [token_id, digest, *topics] if isinstance(topics, list) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise TokensError(f"it must hold {_SHAPE}")
    return TokenEntry(Caller(token_id, frozenset(topics)), digest)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
