"""Masks arbitrary bytes for display: never a code, never a full address. Pure.

In bytes that can't be parsed, a code looks like any word. So only the words of the
contract itself are shown; every other letter becomes ``x`` and every digit ``#``. What remains is
the shape, which distinguishes truncated JSON from an HTML page or a Java object.
"""

import re

from mailtopic_contract import redact

MAX_EXCERPT_CHARACTERS = 240
MAX_TEXT_CHARACTERS = 200

_WORDS = frozenset(
    {
        "v",
        "id",
        "email",
        "purpose",
        "locale",
        "variables",
        "sealed",
        "kid",
        "n",
        "ct",
        "code",
        "accepted_at",
        "expires_at",
        "signup",
        "true",
        "false",
        "null",
        "html",
        "body",
        "head",
        "xml",
        "version",
        "doctype",
    }
)
_MANY_DIGITS = re.compile(r"[0-9]{4,}")
_TOKEN = re.compile(r"\w+")


def excerpt(data: bytes) -> str:
    """Return the beginning of a value with everything masked except the contract's words."""
    # A character takes at most four bytes; a word that the cut splits is masked.
    head = data[: 4 * MAX_EXCERPT_CHARACTERS].decode("utf-8", "replace")
    masked = _TOKEN.sub(_mask_token, head[:MAX_EXCERPT_CHARACTERS])
    shown = "".join(char if char.isascii() and char.isprintable() else "." for char in masked)
    is_cut = len(head) > MAX_EXCERPT_CHARACTERS or len(data) > 4 * MAX_EXCERPT_CHARACTERS
    return shown + ("…" if is_cut else "")


def safe_text(text: str) -> str:
    """Return a header's text without addresses and codes, as a precaution."""
    shown = "".join(char if char.isprintable() else "." for char in text[:MAX_TEXT_CHARACTERS])
    return _MANY_DIGITS.sub("***", redact(shown))


def _mask_token(match: re.Match[str]) -> str:
    token = match[0]
    if token in _WORDS:
        return token
    return "".join("#" if char.isdigit() else "x" if char.isalpha() else char for char in token)
