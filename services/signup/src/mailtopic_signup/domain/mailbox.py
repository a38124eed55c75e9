"""Which mailbox an address names, as far as is known.

Limits are counted by mailbox, and a code is for one: a stranger who signs up with other spellings
of an address gets nothing more, and takes nothing away. Mails go to the address as it was given.
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

    Case is ignored: hosts may tell Bob@ from bob@, and are asked not to (RFC 5321 §2.4). Tags and
    dots are left out only where the host is known to ignore them.
    """
    local, _, domain = normalised.casefold().rpartition("@")
    if domain in _TAGGED:
        local = local.partition("+")[0] or local
    if domain in _DOTLESS:
        local = local.replace(".", "") or local
    return f"{local}@{_SAME_HOST.get(domain, domain)}"


def address_key(address: Address) -> str:
    """Return what limits are counted by: the mailbox, hashed."""
    return hashlib.sha256(mailbox_of(address.normalised).encode()).hexdigest()[:32]
