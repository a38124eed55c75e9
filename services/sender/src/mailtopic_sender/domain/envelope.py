"""Whether an address may be used in an SMTP command, whatever its source."""

import re
from typing import Final

from mailtopic_contract import Address
from mailtopic_sender.domain.templates import TemplateError

_MAX_OCTETS: Final = 254  # RFC 5321 §4.5.3.1.3
_ORDINARY: Final = re.compile(
    rf"(?=.{{1,{_MAX_OCTETS}}}\Z)[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.-]+@[A-Za-z0-9.-]+"
)
"""Matches nearly all addresses: they contain nothing with a meaning in SMTP."""
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029<>]")
_QUOTED_LOCAL: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


class EnvelopeError(TemplateError):
    """An address that must not be written into an SMTP command or a header field."""


def checked_envelope(address: Address) -> bytes:
    """Return the content of the angle brackets of MAIL and RCPT.

    Raises:
        EnvelopeError: it holds a control character, an angle bracket, a space outside quotes, is
            longer than 254 octets, or its domain isn't ASCII.
    """
    text = address.envelope
    if _ORDINARY.fullmatch(text):
        return text.encode()
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        raise EnvelopeError("the address is no valid Unicode text") from None
    if len(octets) > _MAX_OCTETS or not (_is_safe_local(address) and _is_safe_domain(address)):
        raise EnvelopeError("the address can't be written into an SMTP command")
    return octets


def _is_safe_local(address: Address) -> bool:
    local = address.local
    if not local or _UNSAFE.search(local):
        return False
    if local.startswith('"'):
        return _QUOTED_LOCAL.fullmatch(local) is not None
    return not any(character in local for character in ' @"')


def _is_safe_domain(address: Address) -> bool:
    domain = address.domain
    return (
        domain != ""
        and domain.isascii()
        and not _UNSAFE.search(domain)
        and " " not in domain
        and "@" not in domain
    )
