"""Look up the DNS records of a check; each query has a timeout."""

import ipaddress
import re

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.txtbase import TXTBase

from mailtopic_runtime import SettingError

_PORT = 53
_HIGHEST_PORT = 65_535


class Unanswered(Exception):  # noqa: N818 - what happened
    """The DNS gave no answer, so nothing is known about the name; str() has the reason."""


class Resolver:
    """Queries one resolver, or those configured on this machine.

    Raises:
        SettingError: `server` is no address, or this machine has no resolver configured.
    """

    def __init__(self, server: str | None, *, timeout_s: float) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=server is None)
        except dns.resolver.NoResolverConfiguration:
            raise SettingError("--dns-server", "is required: this machine names none") from None
        if server is not None:
            address, self._resolver.port = parse_server(server)
            self._resolver.nameservers = [address]
        self._resolver.lifetime = timeout_s

    async def texts(self, domain: str) -> list[str]:
        """Return the TXT records of a name, each with its strings joined; empty if none.

        Raises:
            Unanswered: there was no answer.
        """
        records = await self._ask(domain, dns.rdatatype.TXT)
        found = [record for record in records if isinstance(record, TXTBase)]
        return [b"".join(each.strings).decode("ascii", "replace") for each in found]

    async def exchanges(self, domain: str) -> list[str]:
        """Return the hosts that take a domain's mail, the preferred first; "." is the null MX.

        Raises:
            Unanswered: there was no answer.
        """
        records = [
            each for each in await self._ask(domain, dns.rdatatype.MX) if isinstance(each, MX)
        ]
        records.sort(key=lambda record: record.preference)
        return [record.exchange.to_text(omit_final_dot=True) for record in records]

    async def has_address(self, domain: str) -> bool:
        """Return whether a name has an address.

        Raises:
            Unanswered: there was no answer.
        """
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            if await self._ask(domain, kind):
                return True
        return False

    async def _ask(self, domain: str, kind: dns.rdatatype.RdataType) -> list[object]:
        try:
            name = dns.name.from_text(f"{domain}.")
            return list(await self._resolver.resolve(name, kind, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.resolver.LifetimeTimeout:
            raise Unanswered("no answer in time") from None
        except dns.resolver.NoNameservers:
            raise Unanswered("the resolver answers with an error") from None
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise Unanswered(f"it can't be asked ({type(error).__name__})") from None


def parse_server(text: str) -> tuple[str, int]:
    """Return address and port of ``192.0.2.53``, ``192.0.2.53:5353`` or ``[2001:db8::53]:5353``.

    Raises:
        SettingError: it is none of these.
    """
    bracketed = re.fullmatch(r"\[(.*)\](?::(.*))?", text)
    host, port = text, None
    if bracketed is not None:
        host, port = bracketed[1], bracketed[2]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = str(ipaddress.ip_address(host))
        number = _PORT if port is None else int(port)
    except ValueError:
        number = 0
    if not 0 < number <= _HIGHEST_PORT:
        raise SettingError("--dns-server", "must be an address, such as 192.0.2.53 or 127.0.0.1:53")
    return address, number
