"""Connecting to a relay: all of its addresses, and this host's name in EHLO."""

import asyncio
import errno
import ipaddress
import os
import re
import socket
from collections.abc import Sequence

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType as AddrInfo

_STAGGER_S = 0.25
"""How long to wait for an address before trying the next one in parallel (RFC 8305 §5)."""
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_FQDN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_LOCAL_DOMAINS = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "lan",
    "home",
    "corp",
    "home.arpa",
)
"""Domains without meaning outside a network (RFC 6762, RFC 8375, and by convention)."""


async def resolve(host: str, port: int, *, timeout_s: float) -> Sequence[AddrInfo]:
    """Return a host's addresses in the order of RFC 6724.

    Raises:
        TimeoutError: there is no answer in time.
        OSError: the name has no address.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def connect(found: Sequence[AddrInfo], *, timeout_s: float) -> socket.socket:
    """Return a connection to the first of a host's addresses that answers.

    They are tried in the order of RFC 6724, IPv6 and IPv4 alternating, each one a quarter of a
    second after the previous one (RFC 8305), so that an unresponsive one doesn't delay the others.

    Args:
        found: the addresses, from `resolve`.
        timeout_s: how long each may take.

    Raises:
        TimeoutError: no address answered in time.
        OSError: each one refused.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s + _STAGGER_S * (len(found) - 1)):
        try:
            return await aiohappyeyeballs.start_connection(
                found, happy_eyeballs_delay=_STAGGER_S, loop=loop
            )
        except RuntimeError as error:
            raise _unreachable() from error  # uvloop, for some addresses
        except OSError as error:
            if error.errno is None:
                raise _unreachable() from error  # different reasons at different addresses
            raise


def ehlo_name(connection: socket.socket) -> str:
    """Return this host's name for EHLO: its FQDN, or its address (RFC 5321 §4.1.4).

    A name without a domain, as pods have, is refused by relays that require an FQDN; the literal of
    the connection's own address is always valid. It makes no DNS query, which can hang.
    """
    name = socket.gethostname().rstrip(".")
    if _is_fqdn(name):
        return name
    return address_literal(connection.getsockname()[0])


def address_literal(address: str) -> str:
    """Return an address as in RFC 5321 §4.1.3: ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]``."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return f"[IPv6:{found}]" if mapped is None else f"[{mapped}]"
    return f"[{found}]"


def _is_fqdn(name: str) -> bool:
    domain = f".{name.lower()}"
    if any(domain.endswith(f".{local}") for local in _LOCAL_DOMAINS):
        return False
    # The last label of an address is a number; that of a domain isn't (RFC 3696 §2).
    return _FQDN.fullmatch(name) is not None and not name.rpartition(".")[2].isdigit()


def _unreachable() -> OSError:
    return OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
