"""The HTTP server: uvicorn, run by us."""

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from mailtopic_runtime import SettingError
from mailtopic_signup.connections import Connections, CountedLine
from mailtopic_signup.http_protocol import BoundedProtocol, Patience
from mailtopic_signup.settings import HttpSettings

_BACKLOG = 4096
_ACCEPTED_AT_ONCE = 16
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def listen(settings: HttpSettings) -> socket.socket:
    """Return a listening socket.

    Raises:
        SettingError: the address can't be bound.
    """
    host, port = settings.host, settings.port
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With the protocol left at 0, asyncio doesn't switch Nagle's algorithm off, and every
        # answer waits 40 ms for the client's delayed acknowledgement.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        _open(listener, address)
    except OSError as error:
        raise _setting_error(error, host, port) from None
    return listener


def _open(listener: socket.socket, address: Any) -> None:
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise


class HttpServer(uvicorn.Server):
    """A uvicorn server that leaves signals to the process."""

    def __init__(
        self, app: ASGIApp, settings: HttpSettings, *, is_behind_proxies: bool = False
    ) -> None:
        # A proxy's connections belong to many clients.
        most_of_client = 0 if is_behind_proxies else settings.max_connections_per_client
        connections = Connections(settings.max_connections, most_of_client or None, time.monotonic)
        self._connections = connections
        patience = Patience(head_s=settings.head_timeout_s, read_s=settings.body_timeout_s)
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                # The client's address is found in client_address.py, by a setting.
                proxy_headers=False,
                http=partial(BoundedProtocol, connections=connections, patience=patience),  # type: ignore[arg-type]
                ws="none",
                h11_max_incomplete_event_size=settings.max_head_bytes,
                # Its warnings are about requests, a line each.
                log_level="error",
                lifespan="off",
                backlog=_ACCEPTED_AT_ONCE,
                timeout_graceful_shutdown=settings.shutdown_grace_s,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_LoopErrors(self._connections, loop.time))
        await super().startup(sockets)
        for listener in sockets or ():
            # asyncio has one number for the kernel's queue and for the connections accepted in one
            # iteration of the loop. An iteration must be short, and the kernel's queue long.
            listener.listen(_BACKLOG)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    def stop(self) -> None:
        """Let `serve` end after the running requests."""
        self.should_exit = True


class _LoopErrors:
    """Logs unhandled errors of tasks and callbacks: a line a kind every ten seconds at most."""

    def __init__(self, connections: Connections, monotonic_s: Callable[[], float]) -> None:
        self._connections = connections
        self._no_descriptors = CountedLine("http.no_descriptors", monotonic_s)
        self._others = CountedLine("http.connection_failed", monotonic_s)

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _EXHAUSTED:
            # asyncio tries again in a second; by then some are free.
            self._no_descriptors.count()
            self._connections.give_way(_ACCEPTED_AT_ONCE)
        elif "protocol" in context or isinstance(error, OSError):
            self._others.count()
        else:
            loop.default_exception_handler(context)


def _setting_error(error: OSError, host: str, port: int) -> SettingError:
    if error.errno == errno.EADDRINUSE:
        return SettingError("MAILTOPIC_HTTP__PORT", f"port {port} on {host} is taken")
    if error.errno == errno.EACCES:
        return SettingError("MAILTOPIC_HTTP__PORT", f"port {port} needs more rights")
    return SettingError("MAILTOPIC_HTTP__HOST", f"can't listen on {host}: {error.strerror}")
