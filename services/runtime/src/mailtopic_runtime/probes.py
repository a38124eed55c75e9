"""/livez, /readyz and /metrics, served from a thread.

A thread of their own, because an answer is most wanted when the event loop gives none.
"""

import errno
import socket
import threading
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
Check = Callable[[], str | None]
"""Returns None if all is well, else the problem in words. Called from another thread."""


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
            # Nobody asked for that port, and several processes may well share a machine.
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


def _text(start_response: StartResponse, status: str, text: str) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]


def _setting_error(error: OSError, host: str, port: int) -> SettingError:
    if error.errno == errno.EADDRINUSE:
        return SettingError("MAILTOPIC_METRICS__PORT", f"port {port} on {host} is taken")
    if error.errno == errno.EACCES:
        return SettingError("MAILTOPIC_METRICS__PORT", f"port {port} needs more rights")
    return SettingError("MAILTOPIC_METRICS__HOST", f"can't listen on {host}: {error.strerror}")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about a client that hung up."""

    def server_bind(self) -> None:
        """Bind without asking DNS for the host's name, which can take seconds."""
        # Without it a restart within a minute finds its own port taken (TIME_WAIT).
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()


class _QuietHandler(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Probes aren't worth a line each."""
