"""A DNS server on loopback over UDP, with the records of a test."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

SILENT = "silent"
"""In place of records: a name about which nothing is ever answered."""

_DATAGRAM_BYTES = 512
"""Without EDNS (RFC 1035 §2.3.4)."""

Zone = Mapping[str, Mapping[str, list[str]] | str | dns.rcode.Rcode]


@dataclass
class DnsServer(asyncio.DatagramProtocol):
    """Answers from ``zone``: name → {type → texts of records}; all other names don't exist."""

    zone: Zone
    asked: list[str] = field(default_factory=list)
    port: int = 0
    transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{name} {kind}")
        known = self.zone.get(name, dns.rcode.NXDOMAIN)
        if known == SILENT:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if isinstance(known, dns.rcode.Rcode):
            answer.set_rcode(known)
        elif isinstance(known, Mapping) and kind in known:
            answer.answer.append(dns.rrset.from_text(name, 300, "IN", kind, *known[kind]))
        try:
            wire = answer.to_wire(max_size=_DATAGRAM_BYTES)
        except dns.exception.TooBig:
            answer.answer.clear()
            answer.flags |= dns.flags.TC
            wire = answer.to_wire()
        self.transport.sendto(wire, addr)


@asynccontextmanager
async def dns_server(zone: Zone) -> AsyncIterator[DnsServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: DnsServer(zone), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
