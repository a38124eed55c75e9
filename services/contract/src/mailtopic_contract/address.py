"""E-mail addresses: parsed once, compared and keyed in normalised form.

The grammar is implemented here because an address becomes part of an SMTP command: an accepted one
must be safe between angle brackets, whichever service or foreign client wrote it. Reserved names
(``.test``, ``.local``, a bare host name) are accepted as well: whether a domain exists is for the
relay to decide.
"""

import hashlib
import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import idna

from mailtopic_contract.errors import BadAddress

MAX_ADDRESS_OCTETS = 254
"""RFC 5321 §4.5.3.1.3 allows a path of 256 octets, of which two are the angle brackets."""

MAX_LOCAL_OCTETS = 64
"""RFC 5321 §4.5.3.1.1."""

MAX_DOMAIN_OCTETS = 253
"""RFC 1035 §2.3.4 allows 255 octets on the wire, which are 253 characters as text."""

_REMEMBERED_DOMAINS = 4096
"""Most mails go to few domains; 4096 of the longest take less than 2 MB."""

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]"  # RFC 5322 §3.2.3, RFC 6532 §3.2
_ASCII_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-]"
_COMMON = re.compile(rf"({_ASCII_ATEXT}+(?:\.{_ASCII_ATEXT}+)*)@([A-Za-z0-9.-]+)")
_DOT_ATOM = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)+)"', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_HOST = re.compile(
    r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
)


# Zero-width characters and a BOM; directional marks and brackets, but no overrides, which can make
# a text look like another one.
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u2060\u2066\u2067\u2068\u2069\ufeff"
_UNSEEN = _INVISIBLE + "".join(
    character for character in map(chr, range(0x10000)) if character.isspace()
)
"""Dropped around an address: Unicode's white space, and invisible characters."""

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
"""U+FF01 to U+FF5E stand for U+0021 to U+007E, in East Asian width (Unicode's UAX #11)."""


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A mailbox: the local part as given, the domain as lower-case A-labels.

    Two texts that differ only in the domain's case or script are the same address. The local part
    keeps its case, because only the receiving host may interpret it (RFC 5321 §2.4).
    """

    local: str
    domain: str

    @property
    def normalised(self) -> str:
        """``local@domain``, by which addresses are compared, keyed and sent."""
        return f"{self.local}@{self.domain}"

    @property
    def envelope(self) -> str:
        """The content of the angle brackets of RCPT TO."""
        return self.normalised

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a relay that offers SMTPUTF8 (RFC 6531) can accept it."""
        return not self.local.isascii()

    @property
    def partition_key(self) -> bytes:
        """The record's key: the first 16 hex digits of SHA-256 of the normalised address."""
        return hashlib.sha256(self.normalised.encode()).hexdigest()[:16].encode()

    @property
    def redacted(self) -> str:
        """A form for readers without access to the address: ``b***@example.com``."""
        return f"{self.local[0]}***@{self.domain}"

    def __repr__(self) -> str:
        return f"Address({self.redacted})"


def parse_address(text: str) -> Address:
    """Return the address in a text.

    White space and invisible characters around the address are dropped: copying and phones'
    keyboards add them. Full-width forms, which East Asian keyboards produce (``ａ＠ｂ．ｃ``), are
    read as the corresponding ASCII. The rest has to be the address only.

    Accepts quoted local parts, plus tags, IDN domains, domain literals, host names without a dot
    and non-ASCII local parts (RFC 5321 §4.1.2, RFC 6531 §3.3). It doesn't check whether the domain
    exists.

    Raises:
        BadAddress: the text isn't an address, is too long, or holds a character that isn't
            printable (including CR and LF, which could inject SMTP commands or header fields).
    """
    common = _COMMON.fullmatch(text) if len(text) <= MAX_ADDRESS_OCTETS else None
    if common is not None and len(common[1]) <= MAX_LOCAL_OCTETS:
        address = Address(local=common[1], domain=_normalise_domain(common[2]))
    else:
        address = _parse_any(_tidied(text))
    if _octets(address.normalised) > MAX_ADDRESS_OCTETS:
        # An IDN domain grows when it becomes A-labels.
        raise BadAddress(f"the address is longer than {MAX_ADDRESS_OCTETS} octets")
    return address


def _tidied(text: str) -> str:
    return text.strip(_UNSEEN).translate(_FULL_WIDTH)


def _parse_any(text: str) -> Address:
    # An all-ASCII text is printable throughout; so is a space, which is allowed in quotes.
    if not text.isprintable():
        raise BadAddress("the address holds a character that is not printable")
    if _octets(text) > MAX_ADDRESS_OCTETS:
        raise BadAddress(f"the address is longer than {MAX_ADDRESS_OCTETS} octets")
    raw_local, at, raw_domain = text.rpartition("@")
    if not at:
        raise BadAddress("the address has no @")
    return Address(local=_normalise_local(raw_local), domain=_normalise_domain(raw_domain))


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _normalise_local(text: str) -> str:
    local = text if text.isascii() else unicodedata.normalize("NFC", text)
    if local.startswith('"') and (quoted := _QUOTED.fullmatch(local)):
        local = _unquote_where_possible(_QUOTED_PAIR.sub(r"\1", quoted[1]))
    elif not _DOT_ATOM.fullmatch(local):
        raise BadAddress("the part before the @ is not valid")
    if _octets(local) > MAX_LOCAL_OCTETS:
        raise BadAddress(f"the part before the @ is longer than {MAX_LOCAL_OCTETS} octets")
    if unicodedata.combining(local[0]):
        raise BadAddress("the part before the @ begins with a combining character")
    return local


def _unquote_where_possible(content: str) -> str:
    # RFC 5321 §4.1.2: "jo\hn" and john are one mailbox, to be written in the shortest form.
    if _DOT_ATOM.fullmatch(content):
        return content
    escaped = content.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@lru_cache(maxsize=_REMEMBERED_DOMAINS)
def _normalise_domain(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        return _normalise_literal(text[1:-1])
    domain = text.lower()
    if not domain.isascii() or "xn--" in domain:
        domain = _to_a_labels(domain)
    if len(domain) > MAX_DOMAIN_OCTETS or not _HOST.fullmatch(domain):
        raise BadAddress("the part after the @ is not a valid domain")
    if domain.rpartition(".")[2].isdigit():
        raise BadAddress("the part after the @ is a number; an IP address goes in square brackets")
    return domain


def _to_a_labels(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError, ValueError, IndexError):
        pass
    try:
        # Long before IDNA2008 forbade it, registries sold emoji domains; those accept mail.
        return ".".join(map(_to_emoji_label, idna.uts46_remap(domain, std3_rules=True).split(".")))
    except (idna.IDNAError, UnicodeError, ValueError, IndexError):
        raise BadAddress("the part after the @ is not a valid internationalised domain") from None


def _to_emoji_label(label: str) -> str:
    shown = label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label
    # With each emoji replaced by a letter, IDNA2008's rules must still hold.
    plain = "".join("x" if _is_emoji(character) else character for character in shown)
    idna.alabel(plain)
    encoded = f"xn--{shown.encode('punycode').decode('ascii')}" if not shown.isascii() else shown
    if label.startswith("xn--") and label != encoded:
        raise ValueError("this is not how Punycode writes the label (RFC 3492)")
    return encoded


def _is_emoji(character: str) -> bool:
    is_part = character in "\u200d\ufe0f" or "\U0001f3fb" <= character <= "\U0001f3ff"
    return is_part or unicodedata.category(character) == "So"


def _normalise_literal(text: str) -> str:
    # RFC 5321 §4.1.3
    try:
        if text[:5].lower() == "ipv6:" and "%" not in text:  # a zone (RFC 4007) is local to a host
            return f"[IPv6:{ipaddress.IPv6Address(text[5:])}]"
        return f"[{ipaddress.IPv4Address(text)}]"
    except ValueError:
        raise BadAddress("the part after the @ is not a valid address literal") from None
