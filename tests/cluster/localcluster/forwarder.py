"""The way in: connections to the machine's loopback port reach the API server in the node.

    python -m localcluster.forwarder LISTENER_FD

A listening socket belongs to the network namespace that it was made in. `up` makes it on the
machine and hands it down; this process accepts there and connects here, inside the node. So the
machine needs no interface, no route and no rule, and the port closes when the node ends.
"""

import asyncio
import contextlib
import socket
import sys

from .node_settings import API_PORT, NODE_IP

_CHUNK_BYTES = 64 * 1024


async def forward(listener: socket.socket, host: str, port: int) -> None:
    """Pass every connection on to the address, until cancelled."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection(host, port)
        except OSError:
            # The client sees a closed connection, as from a server that is not up yet.
            writer.close()
            return
        await asyncio.gather(_copy(reader, upstream[1]), _copy(upstream[0], writer))
        for end in (upstream[1], writer):
            end.close()

    server = await asyncio.start_server(serve, sock=listener)
    async with server:
        await server.serve_forever()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass bytes on until either side ends; then tell the other one."""
    # A reset connection is an end like any other: both sides see that theirs is over.
    with contextlib.suppress(ConnectionError, TimeoutError):
        while chunk := await source.read(_CHUNK_BYTES):
            target.write(chunk)
            await target.drain()
    with contextlib.suppress(OSError, RuntimeError):
        target.write_eof()


def main(descriptor: int) -> None:
    """Serve on the inherited socket until the process is killed."""
    asyncio.run(forward(socket.socket(fileno=descriptor), NODE_IP, API_PORT))


if __name__ == "__main__":
    main(int(sys.argv[1]))
