"""Looks up in the DNS whether a domain takes mail (RFC 5321 §5.1, RFC 7505)."""

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
"""Each is a datagram at most, which takes about 10 kB as objects."""


class _Datagrams(dns.nameserver.Do53Nameserver):
    """Never falls back to TCP for an answer that doesn't fit into a datagram.

    Over TCP a stranger's domain could make us read and keep 64 kB of records for each of its names.
    """

    async def async_query(  # type: ignore[override] # the resolver passes these by name
        self, request: dns.message.QueryMessage, **asked: Any
    ) -> dns.message.Message:
        if asked["max_size"]:
            raise EOFError("the answer is too large")
        return await super().async_query(request, **asked)


class MailDomains:
    """Looks domains up, and caches answers for their TTL.

    A domain takes mail if it has an MX record other than the null MX, or none and an address. It
    fails open: without an answer in time a domain counts as taking mail; the relay decides then.

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
        self._resolver.lifetime = 2 * settings.dns_timeout_s  # ours, over all queries, ends first
        self._state = StateLog(get_logger(__name__), "dns")

    async def takes_mail(self, domain: str) -> bool:
        """Return whether a domain, in A-labels, takes mail; in time, and never raises."""
        name = dns.name.from_text(f"{domain}.")
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._ask(name)
        except TimeoutError:
            self._state.down("no answer in time; domains are taken unseen")
            return True
        except (dns.exception.DNSException, OSError):
            # SERVFAIL, a refusal, garbage, an answer beyond a datagram: unknown.
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
