"""Asks the DNS whether a domain takes mail (RFC 5321 §5.1, RFC 7505)."""

import asyncio
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.MX import MX

from mailtopic_runtime import SettingError, StateLog, get_logger
from mailtopic_signup.settings import RecipientsSettings

_CACHED_ANSWERS = 2_000
"""Each of at most a datagram, which takes some 10 kB as objects."""


class _Datagrams(dns.nameserver.Do53Nameserver):
    """Asks for no answer that doesn't fit into a datagram.

    Over TCP a stranger's domain could have 64 kB of records read, and kept, for each of its names.
    """

    async def async_query(  # type: ignore[override] # the resolver names what it gives
        self, request: dns.message.QueryMessage, **asked: Any
    ) -> dns.message.Message:
        if asked["max_size"]:
            raise EOFError("the answer is too large")
        return await super().async_query(request, **asked)


class MailDomains:
    """Looks domains up, and remembers answers for as long as the DNS says.

    A domain takes mail if it has an MX record other than the null MX, or none and an address. It
    fails open: whatever isn't known in time counts as taking mail, because the relay will know.

    Raises:
        SettingError: no resolver is configured.
    """

    def __init__(self, settings: RecipientsSettings) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=settings.dns_server is None)
        except dns.resolver.NoResolverConfiguration:
            raise SettingError(
                "MAILTOPIC_RECIPIENTS__DNS_SERVER", "is required: this machine names no resolver"
            ) from None
        if settings.dns_server is not None:
            self._resolver.nameservers = [settings.dns_server]
            self._resolver.port = settings.dns_port
        self._resolver.nameservers = [
            _Datagrams(str(server), self._resolver.port) for server in self._resolver.nameservers
        ]
        self._resolver.cache = dns.resolver.LRUCache(_CACHED_ANSWERS)
        self._timeout_s = settings.dns_timeout_s
        self._resolver.lifetime = 2 * settings.dns_timeout_s  # ours ends first, over all questions
        self._state = StateLog(get_logger(__name__), "dns")

    async def takes_mail(self, domain: str) -> bool:
        """Tell whether a domain, in A-labels, takes mail; within the timeout, and never raises."""
        name = dns.name.from_text(f"{domain}.")
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._ask(name)
        except TimeoutError:
            self._state.down("no answer in time; domains are taken unseen")
            return True
        except (dns.exception.DNSException, OSError):
            # SERVFAIL, a refusal, garbage, an answer beyond a datagram: nobody knows.
            return True
        self._state.up()
        return answer

    async def _ask(self, name: dns.name.Name) -> bool:
        try:
            found = await self._resolver.resolve(name, dns.rdatatype.MX, search=False)
        except dns.resolver.NXDOMAIN:
            return False
        except dns.resolver.NoAnswer:
            return await self._has_address(name)
        exchanges = [record.exchange for record in found if isinstance(record, MX)]
        return any(exchange != dns.name.root for exchange in exchanges)

    async def _has_address(self, name: dns.name.Name) -> bool:
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            try:
                await self._resolver.resolve(name, kind, search=False)
            except dns.resolver.NoAnswer:
                continue
            except dns.resolver.NXDOMAIN:
                return False
            return True
        return False
