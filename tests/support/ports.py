"""Ports that are free at the moment."""

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
    """Return the first of ``count`` consecutive ports that nothing listens on."""
    while True:
        first = free_port()
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except (OSError, OverflowError):
                continue
        return first


def free_port() -> int:
    return free_ports(1)[0]
