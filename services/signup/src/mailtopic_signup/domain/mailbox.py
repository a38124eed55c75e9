"""Which mailbox an address names, as far as is known.

Limits are counted by mailbox, and a code is for one: other spellings of an address give a stranger
no more tries, and cost its owner none. Mails go to the address as it was given.
"""

import hashlib

from mailtopic_contract import Address

_TAGGED = frozenset(
    {
        *("gmail.com", "googlemail.com", "icloud.com", "me.com", "mac.com"),
        *("outlook.com", "hotmail.com", "live.com", "fastmail.com", "proton.me", "protonmail.com"),
    }
)
"""Hosts that deliver name+anything to name, by their own documentation."""

_DOTLESS = frozenset({"gmail.com", "googlemail.com"})
"""Hosts that ignore dots in a local part, by their own documentation."""

_SAME_HOST = {"googlemail.com": "gmail.com"}


def mailbox_of(normalised: str) -> str:
    """Return the mailbox of a normalised address.

    Case is ignored: hosts may distinguish Bob@ from bob@, but should not (RFC 5321 §2.4). Tags and
    dots are removed if the host is known to ignore them. For other hosts this is unknown: all
    tagged spellings of a name are one mailbox, and the name without a tag is another.
    """
    local, _, domain = normalised.casefold().rpartition("@")
    name, plus, _ = local.partition("+")
    if plus and name:
        local = name if domain in _TAGGED else f"{name}+"
    if domain in _DOTLESS:
        local = local.replace(".", "") or local
    return f"{local}@{_SAME_HOST.get(domain, domain)}"


def mailbox_key(address: Address) -> str:
    """Return the key of limits: the mailbox, hashed."""
    return _hashed(mailbox_of(address.normalised))


def address_key(address: Address) -> str:
    """Return the key of suppressions: the address, regardless of case, hashed."""
    return _hashed(address.normalised.casefold())


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
