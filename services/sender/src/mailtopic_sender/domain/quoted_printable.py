"""Text → quoted-printable (RFC 2045 §6.7), whole or in pieces around a mail's variables.

The result is ASCII in lines of at most 76 characters, ended by CRLF. No line begins with a dot,
whatever the text, so no dot-stuffing is needed (RFC 5321 §4.5.2); none ends in white space, which a
relay might drop; and ``=_`` never appears, so a boundary that contains it can't either.
"""

import re
from typing import Final

SOFT_BREAK: Final = b"=\r\n"
"""Ends a line within a line of the text."""

_ROOM: Final = 73
"""Characters of a line before possible additions: two for a dot, one for the soft break."""
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
# Whole escapes, and whole characters: no line ends within a character's UTF-8 octets.
_UNCUT: Final = r"(?<!=)(?<!=.)(?!=[89AB])"
_CHUNK: Final = re.compile(f".{{1,{_ROOM}}}{_UNCUT}")
_LITERAL: Final = frozenset(range(32, 127)) - {ord("=")} | {ord("\t")}
_REMEMBERED: Final = 0x3000
"""Escapes are cached for characters below it, the alphabets; bounded for any input."""


class _Escapes(dict[int, str]):
    """For str.translate: a character's encoding, by its code point."""

    def __missing__(self, code: int) -> str:
        octets = chr(code).encode("utf-8", "replace")
        escape = chr(code) if code in _LITERAL else "".join(f"={octet:02X}" for octet in octets)
        if code < _REMEMBERED:
            self[code] = escape
        return escape


_ESCAPES: Final = _Escapes()


def encode(text: str, *, column: int = 0, ends: bool = True) -> bytes:
    """Return a text in quoted-printable, with any line ends; lone surrogates become ``?``.

    Args:
        text: any text.
        column: characters already on the first line.
        ends: whether the encoded body ends with this text. If not, whatever follows it on its
            last line must not be a dot or a line end.
    """
    lines = _LINE_END.split(text)
    last = len(lines) - 1
    encoded: list[str] = []
    for number, line in enumerate(lines):
        escaped = line.translate(_ESCAPES)
        if (number < last or ends) and escaped.endswith((" ", "\t")):
            escaped = f"{escaped[:-1]}={ord(escaped[-1]):02X}"
        encoded.append(_wrapped(escaped, column if number == 0 else 0))
    return "\r\n".join(encoded).encode("ascii")


def _wrapped(line: str, column: int) -> str:
    # The first chunk may begin a line although column says otherwise: after a variable.
    if len(line) <= _ROOM - column:
        return _without_dot(line)
    chunks: list[str] = []
    position = 0
    if column:
        room = max(_ROOM - column, 0)
        first = re.compile(f".{{0,{room}}}{_UNCUT}").match(line)
        position = first.end() if first else 0
        chunks.append(line[:position])
    chunks += _CHUNK.findall(line, position)
    return "=\r\n".join(map(_without_dot, chunks))


def _without_dot(chunk: str) -> str:
    return f"=2E{chunk[1:]}" if chunk.startswith(".") else chunk
