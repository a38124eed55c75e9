"""Ports that are free at the moment."""

import random
import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """Return TCP ports of the loopback interface that nothing listens on; all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def free_port_run(count: int) -> int:
    """Return the first of ``count`` consecutive ports that nothing listens on.

    They lie below the ports that systems hand out by themselves, of which none stays free for long.
    """
    while True:
        first = random.randrange(20_000, 32_000)  # noqa: S311 - no secret
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return first


def free_port() -> int:
    return free_ports(1)[0]
