"""/livez, /readyz and /metrics, served from threads.

They run in threads because they matter most when the event loop is blocked. Each
connection has one, so there are few: one more ends the oldest, as does a client that takes too
long.
"""

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from mailtopic_runtime.errors import SettingError
from mailtopic_runtime.logs import get_logger
from mailtopic_runtime.settings import MetricsSettings

DEFAULT_PORT = 9100
_MAX_CONNECTIONS = 32
_MAX_SECONDS = 10
"""Maximum duration of a connection; kubelets give up earlier, as Prometheus does by default."""
_MAX_HEAD_BYTES = 16_384
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE_S = 0.1
Check = Callable[[], str | None]
"""Returns None if the check passes, else the problem in words. Called from another thread."""


class ProbeServer:
    """Serves a process's probes and metrics.

    A probe answers 200 ``ok`` or 503 with the problem in words.
    """

    def __init__(
        self, settings: MetricsSettings, registry: CollectorRegistry, *, live: Check, ready: Check
    ) -> None:
        self._settings = settings
        self._checks = {"/livez": live, "/readyz": ready}
        self._metrics = make_wsgi_app(registry)
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on; only after `start`."""
        if self._server is None:
            raise RuntimeError("the probe server has not been started")
        return int(self._server.server_port)

    def start(self) -> None:
        """Listen, on a free port if none is set and 9100 is taken.

        Raises:
            SettingError: the address can't be listened on.
        """
        host, port = self._settings.host, self._settings.port
        try:
            self._server = _listen(host, DEFAULT_PORT if port is None else port)
        except OSError as error:
            if port is not None or error.errno != errno.EADDRINUSE:
                raise _setting_error(error, host, port or DEFAULT_PORT) from None
            # The port was not set explicitly, and several processes may share a machine.
            self._server = _listen(host, 0)
            get_logger(__name__).warning("probes.port_taken", port=DEFAULT_PORT, instead=self.port)
        self._server.set_app(self._answer)
        threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()

    def stop(self) -> None:
        """Stop listening; does nothing if it was never started."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        method = environ["REQUEST_METHOD"]
        if method not in {"GET", "HEAD"}:
            return _text(
                start_response, "405 Method Not Allowed", "use GET", ("Allow", "GET, HEAD")
            )
        if method == "GET":
            return self._answer_get(environ, start_response)
        heads: list[tuple[str, list[tuple[str, str]]]] = []
        body = self._answer_get(
            {**environ, "REQUEST_METHOD": "GET"},
            lambda status, headers: heads.append((status, headers)),
        )
        status, headers = heads[0]
        start_response(status, [*headers, ("Content-Length", str(len(b"".join(body))))])
        return []

    def _answer_get(self, environ: WSGIEnvironment, start_response: Any) -> Any:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return self._metrics(environ, start_response)
        check = self._checks.get(path)
        if check is None:
            return _text(start_response, "404 Not Found", "try /livez, /readyz or /metrics")
        problem = check()
        if problem is None:
            return _text(start_response, "200 OK", "ok")
        return _text(start_response, "503 Service Unavailable", problem)


def _listen(host: str, port: int) -> "_Server":
    return _Server((host, port), _QuietHandler)


def _text(start_response: Any, status: str, text: str, *headers: tuple[str, str]) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
    return [f"{text}\n".encode()]


def _setting_error(error: OSError, host: str, port: int) -> SettingError:
    if error.errno == errno.EADDRINUSE:
        return SettingError("MAILTOPIC_METRICS__PORT", f"port {port} on {host} is taken")
    if error.errno == errno.EACCES:
        return SettingError("MAILTOPIC_METRICS__PORT", f"port {port} needs more rights")
    return SettingError("MAILTOPIC_METRICS__HOST", f"can't listen on {host}: {error.strerror}")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._began_at_s: dict[socket.socket, float] = {}  # the oldest first
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; if no descriptors are left, end one first."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in _EXHAUSTED and not self._end_oldest():
                time.sleep(_PAUSE_S)  # the listener stays readable, and the loop would spin
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, after making room for it."""
        while len(self._began_at_s) >= _MAX_CONNECTIONS and self._end_oldest():
            pass
        with self._lock:
            self._began_at_s[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that was answered or has ended."""
        with self._lock:
            self._began_at_s.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Close connections past their deadline; called after each wait."""
        now_s = time.monotonic()
        while now_s - self._oldest_began_at_s(now_s) > _MAX_SECONDS and self._end_oldest():
            pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect early."""

    def server_bind(self) -> None:
        """Bind without asking DNS for the host's name, which can take seconds."""
        # Without it a restart within a minute finds its own port taken (TIME_WAIT).
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def _oldest_began_at_s(self, now_s: float) -> float:
        with self._lock:
            return next(iter(self._began_at_s.values()), now_s)

    def _end_oldest(self) -> bool:
        with self._lock:
            oldest = next(iter(self._began_at_s), None)
            if oldest is None:
                return False
            del self._began_at_s[oldest]
        with contextlib.suppress(OSError):
            # Its thread finds the end of the stream, and closes the socket.
            oldest.shutdown(socket.SHUT_RDWR)
        return True


class _BoundedReader:
    """A stream with a read limit, for a request's headers."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left = _MAX_HEAD_BYTES

    def readline(self, size: int) -> bytes:
        line: bytes = self._stream.readline(min(size, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise ConnectionAbortedError
        return line

    def close(self) -> None:
        self._stream.close()


class _QuietHandler(WSGIRequestHandler):
    timeout = _MAX_SECONDS

    def setup(self) -> None:
        """Limit the bytes read."""
        super().setup()
        self.rfile = _BoundedReader(self.rfile)  # type: ignore[assignment]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Don't log each probe."""
