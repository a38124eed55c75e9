"""Which addresses mails may go to."""

from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from mailtopic_contract import Address, BadAddress, parse_address
from mailtopic_runtime import SettingError
from mailtopic_signup.errors import BadField

TakesMail = Callable[[str], Awaitable[bool]]
"""Returns whether a domain takes mail at all; True if unknown."""


async def _nobody_knows(_domain: str) -> bool:
    return True


class Recipients:
    """Checks addresses before anything is stored: by the address alone, never by its owner.

    Args:
        blocked_domains: domains, in A-labels, that get no mail, with all their subdomains.
        takes_mail: looks the domain up in the DNS, if enabled.
    """

    def __init__(
        self, blocked_domains: Collection[str] = (), takes_mail: TakesMail = _nobody_knows
    ) -> None:
        self._blocked = frozenset(blocked_domains)
        self._takes_mail = takes_mail

    async def admit(self, text: str, *, field: str) -> Address:
        """Return the address that a request's field holds.

        Raises:
            BadField: it isn't an address, isn't reachable from the Internet, or is blocked.
        """
        try:
            address = parse_address(text)
        except BadAddress as error:
            raise BadField(field, str(error)) from None
        # A mail from the Internet reaches neither a bare host name nor, in practice, an IP address.
        if "." not in address.domain or address.domain.startswith("["):
            raise BadField(field, "the part after the @ must be a domain name with a dot")
        if self._is_blocked(address.domain):
            raise BadField(field, "addresses of this domain are not accepted")
        if not await self._takes_mail(address.domain):
            raise BadField(field, "the domain after the @ takes no mail")
        return address

    def _is_blocked(self, domain: str) -> bool:
        labels = domain.split(".")
        return any(".".join(labels[first:]) in self._blocked for first in range(len(labels)))


def load_domains(path: Path) -> frozenset[str]:
    """Read domains from a text file, one a line; blank lines and # comments are ignored.

    Raises:
        SettingError: it can't be read, or a line isn't a domain.
    """
    name = "MAILTOPIC_RECIPIENTS__BLOCKED_DOMAINS_FILE"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingError(name, f"the file {path} can't be read: {reason}") from None
    domains = set()
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            # In the form in which addresses are compared: lower case, A-labels.
            domains.add(parse_address(f"x@{text}").domain)
        except BadAddress:
            raise SettingError(name, f"line {number} of {path} is no domain") from None
    return frozenset(domains)
