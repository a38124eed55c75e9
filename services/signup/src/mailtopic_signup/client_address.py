"""The client of a request, behind a number of proxies that is configured and never guessed."""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

_IPV6_PREFIX = 64
"""A network's customer gets at least a /64 (RFC 6177), so that is one client."""

_WIDER_PREFIXES = (56, 48)
_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?|(?P<v4>[^:]*):\d+")
_MAX_ENTRY_LENGTH = 64
"""An IPv6 address in brackets with a zone and a port is shorter; nothing longer is kept."""

_UNKNOWN = "unknown"


def client_of(peer: str | None, forwarded_for: Sequence[str], trusted_proxies: int) -> str:
    """Return the client: an IPv4 address, or the /64 of an IPv6 address.

    Every proxy appends its peer's address to X-Forwarded-For. So with n proxies in front the n-th
    entry from the right is the peer of the outermost one, and everything to the left of it was
    written by the client. If the header is shorter, the request passed fewer proxies.

    Args:
        peer: the other end of the connection; None where there is none.
        forwarded_for: the header's values, in the order in which they came.
        trusted_proxies: the number of proxies in front.
    """
    hops = [entry.strip() for value in forwarded_for for entry in value.split(",")]
    trusted = hops[max(0, len(hops) - trusted_proxies) :] if trusted_proxies else []
    for seen in (*trusted[:1], peer or ""):
        client = _network(seen) if len(seen) <= _MAX_ENTRY_LENGTH else None
        if client is not None:
            return client
    return _UNKNOWN


@lru_cache(10_000)
def wider_networks(client: str) -> tuple[str, ...]:
    """Return the /56 and the /48 of a client that is a /64; nothing for any other.

    Customers get a /56 or a /48 (RFC 6177), which are 256 and 65,536 clients.
    """
    if not client.endswith(f"/{_IPV6_PREFIX}"):
        return ()
    network = ipaddress.IPv6Network(client)
    return tuple(str(network.supernet(new_prefix=length)) for length in _WIDER_PREFIXES)


@lru_cache(10_000)
def _network(text: str) -> str | None:
    found = _WITH_PORT.fullmatch(text)
    if found:
        text = found["v6"] or found["v4"] or ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    network = ipaddress.IPv6Network((int(address), _IPV6_PREFIX), strict=False)
    return str(network)
