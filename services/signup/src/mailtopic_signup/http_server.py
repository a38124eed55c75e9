"""The HTTP server: uvicorn, run by us."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from mailtopic_runtime import SettingError
from mailtopic_signup.settings import HttpSettings

_BACKLOG = 2048


def listen(settings: HttpSettings) -> socket.socket:
    """Return a socket that listens.

    Raises:
        SettingError: the address can't be listened on.
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


def _impatient_protocol(head_timeout_s: float) -> type[H11Protocol]:
    """Return uvicorn's protocol, with an end to its patience.

    By itself it waits for a request's head for ever, and each such connection costs a descriptor.
    """

    class ImpatientProtocol(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait_for_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._wait_for_head()
            else:
                self._stop_waiting()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait_for_head(self) -> None:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(head_timeout_s, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return ImpatientProtocol


class HttpServer(uvicorn.Server):
    """A uvicorn server that leaves signals to the process."""

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                # Who a client is, is decided in client_address.py, by a setting.
                proxy_headers=False,
                http=_impatient_protocol(settings.head_timeout_s),
                lifespan="off",
                timeout_graceful_shutdown=settings.shutdown_grace_s,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    def stop(self) -> None:
        """Let `serve` end after the running requests."""
        self.should_exit = True


def _setting_error(error: OSError, host: str, port: int) -> SettingError:
    if error.errno == errno.EADDRINUSE:
        return SettingError("MAILTOPIC_HTTP__PORT", f"port {port} on {host} is taken")
    if error.errno == errno.EACCES:
        return SettingError("MAILTOPIC_HTTP__PORT", f"port {port} needs more rights")
    return SettingError("MAILTOPIC_HTTP__HOST", f"can't listen on {host}: {error.strerror}")
