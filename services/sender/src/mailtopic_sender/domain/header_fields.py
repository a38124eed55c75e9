"""Header fields' values: safe, folded, and readable by every mail program.

Control characters (including CR and LF) become one space, so a value can't start another field.
"""

import re
from binascii import b2a_base64
from typing import Final

_LINE: Final = 76
_WORD: Final = 75
"""Longest encoded-word, characters (RFC 2047 §2)."""
_WORD_OCTETS: Final = (_WORD - len("=?utf-8?b??=")) // 4 * 3
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")


def encode_unstructured(text: str, *, used: int) -> bytes:
    """Return a header field's value: unchanged if it is short and plain, else as encoded-words.

    Lines are folded at 76 (RFC 2047 §2, RFC 5322 §2.2.3).

    Args:
        text: any text.
        used: characters already on the first line.
    """
    clean = _CONTROL.sub(" ", text)
    plain = clean.isascii() and "=?" not in clean and clean == clean.strip()
    if plain and used + len(clean) <= _LINE:
        return clean.encode()
    return _encoded_words(clean, used)


def _encoded_words(text: str, used: int) -> bytes:
    """Encode by RFC 2047 §5: each word holds whole characters and takes one folded line."""
    words: list[bytes] = []
    room = (_LINE - used - len("=?utf-8?b??=")) // 4 * 3
    chunk = bytearray()
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(chunk) + len(octets) > min(room, _WORD_OCTETS):
            words.append(_word(bytes(chunk)))
            chunk.clear()
            room = _WORD_OCTETS
        chunk += octets
    words.append(_word(bytes(chunk)))
    return b"\r\n ".join(words)


def _word(octets: bytes) -> bytes:
    return b"=?utf-8?b?" + b2a_base64(octets, newline=False) + b"?="


def from_value(name: str, mailbox: bytes) -> bytes:
    """Return the value of From: the sender's name and mailbox (an ASCII address)."""
    clean = _CONTROL.sub(" ", name).strip()
    angled = b"<" + mailbox + b">"
    if not clean:
        return angled
    if clean.isascii() and "=?" not in clean and len(clean) < _LINE // 2:
        quoted = clean.replace("\\", "\\\\").replace('"', '\\"')
        phrase = (clean if _ATOMS.fullmatch(clean) else f'"{quoted}"').encode()
    else:
        phrase = _encoded_words(clean, len("From: "))
    is_short = len("From: ") + len(phrase) + 1 + len(angled) <= _LINE
    return phrase + (b" " if is_short else b"\r\n ") + angled


def to_value(mailbox: bytes) -> bytes:
    """Return the value of To. An address can't be folded: a long one starts the next line."""
    return mailbox if len(mailbox) <= _LINE - len("To: ") else b"\r\n " + mailbox
