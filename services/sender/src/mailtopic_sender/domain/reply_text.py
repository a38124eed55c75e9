"""Extracts from a reply's text: its enhanced code, a pause, a safe quote, its wording."""

import re
from collections.abc import Sequence

MAX_HINT_S = 86_400.0
"""A requested pause of more than a day counts as a day."""

MAX_QUOTE = 200
"""Most characters of a reply that are shown."""

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")
_AFTER_WORD = r"(?:in|for|after|wait|within|least|retry|timeout)[:\s]+(?:at least |another )?"
_HINT = re.compile(
    _AFTER_WORD
    + r"(?:about )?(\d{1,6})\s*(s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?)\b",
    re.IGNORECASE,
)
_CLOCK_HINT = re.compile(_AFTER_WORD + r"(\d{1,2}):(\d{2}):(\d{2})\b", re.IGNORECASE)
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}

_ADDRESS = re.compile(r"<[^<>]*@[^<>]*>|[^\s<>,;:]+@[^\s<>,;]+")
_DIGITS = re.compile(r"\d(?:[ -]?\d){3,}")
_VARYING = re.compile(
    r"https?://\S+|\[[^\]]*\]|\"[^\"]*\"|'[^'\s]*'"
    # Numbers and ids; names of hosts.
    r"|\S*[\d#]\S*|(?<![\w.-])[\w-]+(?:\.[\w-]+)+",
)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def split_enhanced(text: str) -> tuple[str | None, str]:
    """Return the enhanced code at the start of a text (RFC 2034 §4), or None, and the rest."""
    match = _ENHANCED.match(text)
    if match is None:
        return None, text
    return match[0], text[match.end() :].lstrip()


def parse_retry_hint(text: str) -> float | None:
    """Return the pause that a reply asks for, seconds above 0 and at most a day, or None.

    Understands "in 300 seconds", "wait 5 minutes", "retry after 1h", "come back in 00:04:59".
    Times of day and dates are not supported.
    """
    clock = _CLOCK_HINT.search(text)
    if clock is not None:
        hours, minutes, seconds = (int(part) for part in clock.groups())
        pause_s = hours * 3600.0 + minutes * 60.0 + seconds
    else:
        match = _HINT.search(text)
        if match is None:
            return None
        pause_s = int(match[1]) * _UNIT_S[match[2][0].lower()]
    return min(pause_s, MAX_HINT_S) if pause_s > 0 else None


def redact(text: str) -> str:
    """Return a text fit for logs and headers: ASCII, cut, no address, no four digits in a row."""
    cut = text[: 4 * MAX_QUOTE]
    without_addresses = _ADDRESS.sub("<address>", _UNPRINTABLE.sub("?", cut))
    return _DIGITS.sub("#", without_addresses)[:MAX_QUOTE]


def wording(text: str, *, names: Sequence[str] = ()) -> str:
    """Return what all recipients' replies have in common: no address, id, number or host.

    Args:
        text: a reply's text, or its quote.
        names: other text specific to the recipient, such as the local part of the address.
    """
    words = redact(text).casefold().replace("<address>", " ")
    for name in names:
        words = re.sub(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", " ", words)
    return " ".join(re.findall(r"[^\W_]+", _VARYING.sub(" ", words)))
