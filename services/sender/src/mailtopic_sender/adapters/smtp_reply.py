"""Lines from a relay → complete replies (RFC 5321 §4.2)."""

import re
from dataclasses import dataclass
from functools import lru_cache

from mailtopic_sender.domain.reply_text import split_enhanced

MAX_REPLY_OCTETS = 32_768
"""No genuine reply is longer; RFC 5321 §4.5.3.1.5 limits a line to 512."""

POSITIVE = range(200, 300)
"""The success codes (RFC 5321 §4.2.1)."""

_CODE = re.compile(rb"[0-9]{3}")


@dataclass(frozen=True, slots=True)
class SmtpReply:
    """A complete reply; `text` has its lines joined by spaces, without the codes."""

    code: int
    enhanced: str | None
    text: str

    @property
    def codes(self) -> str:
        """Basic and enhanced code, e.g. ``451 4.7.1``, without the text."""
        return f"{self.code} {self.enhanced}" if self.enhanced else f"{self.code}"

    @property
    def is_positive(self) -> bool:
        """Whether the basic code is 2xx."""
        return self.code in POSITIVE


class NoReply(ValueError):  # noqa: N818 - it describes the input
    """The input isn't an SMTP reply, or is too long for one."""


class ReplyReader:
    """Assembles lines into replies."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._code = 0
        self._size = 0

    @property
    def size(self) -> int:
        """Octets of the incomplete reply."""
        return self._size

    def read(self, line: bytes) -> SmtpReply | None:
        """Take a line without its LF; returns the reply that it completes, if any.

        Raises:
            NoReply: it can't be part of one.
        """
        if not self._lines and line[3:4] == b" " and len(line) <= _KEPT_OCTETS:
            return _single(line)
        self._size += len(line)
        code, is_last, text = _parts(line)
        if self._size > MAX_REPLY_OCTETS or (self._lines and code != self._code):
            raise NoReply
        self._code = code
        self._lines.append(text)
        return self._whole() if is_last else None

    def _whole(self) -> SmtpReply:
        enhanced, first = split_enhanced(self._lines[0])
        rest = [split_enhanced(line)[1] for line in self._lines[1:]]
        self._lines.clear()
        self._size = 0
        return SmtpReply(self._code, enhanced, " ".join([first, *rest]))


_KEPT_OCTETS = 512


@lru_cache(maxsize=32)
def _single(line: bytes) -> SmtpReply:
    # Three of a mail's four replies are the same for every mail.
    code, _, text = _parts(line)
    return SmtpReply(code, *split_enhanced(text))


def _parts(line: bytes) -> tuple[int, bool, str]:
    """Return a line's code, whether it is its reply's last line, and its text."""
    text = line.decode("ascii", "replace").rstrip("\r")
    if not _CODE.match(line) or text[3:4] not in {"", " ", "-"}:
        raise NoReply
    return int(line[:3]), text[3:4] != "-", text[4:]
