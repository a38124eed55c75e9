"""The composition root of the inbox: store, SMTP and HTTP in one process."""

import asyncio
import contextlib
import errno
import socket
import sqlite3
from collections.abc import Iterator
from typing import Any

import uvicorn

from mailtopic_inbox.events import EventFeed
from mailtopic_inbox.http import create_app
from mailtopic_inbox.settings import ListenSettings
from mailtopic_inbox.smtp import InboxSmtp
from mailtopic_inbox.store import MailStore
from mailtopic_inbox.tls import server_context
from mailtopic_runtime import EXIT_OK, SettingError, get_logger, stop_on_signals

PROGRAM = "mailtopic-inbox"
_PREFIX = "MAILTOPIC_INBOX__"


async def run_inbox(settings: ListenSettings) -> int:
    """Serve until SIGTERM or SIGINT, then finish open requests and close the store.

    Raises:
        SettingError: a port is taken, or a file can't be used.
    """
    log = get_logger("mailtopic.inbox")
    asyncio.get_running_loop().set_exception_handler(_on_loop_error)
    stopping = stop_on_signals()
    tls = None
    if settings.tls_cert_file and settings.tls_key_file:
        tls = server_context(settings.tls_cert_file, settings.tls_key_file)
    store, feed = _open_store(settings), EventFeed()
    store.on_new_mail(feed.publish)
    smtp = InboxSmtp(store, tls)
    try:
        http_listener = _listen(settings.host, settings.http_port, "HTTP_PORT")
        smtp_listener = _listen(settings.host, settings.smtp_port, "SMTP_PORT")
        await smtp.start(smtp_listener)
        app = create_app(
            store, feed, signup_url=settings.signup_url, allowed_hosts=settings.allowed_hosts
        )
        server = _http_server(app)
        serving = asyncio.create_task(server.serve([http_listener]))
        log.info(
            "inbox.ready",
            http_port=http_listener.getsockname()[1],
            smtp_port=smtp_listener.getsockname()[1],
            starttls=tls is not None,
            kept="in a file" if settings.data_file else "in memory",
        )
        await stopping.wait()
        feed.close()
        server.should_exit = True
        await serving
    finally:
        await smtp.stop()
        store.close()
    log.info("inbox.stopped")
    return EXIT_OK


def _open_store(settings: ListenSettings) -> MailStore:
    try:
        return MailStore(settings.data_file)
    except sqlite3.Error:
        problem = f"the file {settings.data_file} can't be opened as a database"
        raise SettingError(f"{_PREFIX}DATA_FILE", problem) from None


def _http_server(app: Any) -> uvicorn.Server:
    return _HttpServer(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            loop="asyncio",
            timeout_graceful_shutdown=2,
        )
    )


class _HttpServer(uvicorn.Server):
    """uvicorn without its own handling of signals: the process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int, port_setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            problem = SettingError(f"{_PREFIX}{port_setting}", f"port {port} is taken")
        elif error.errno == errno.EACCES:
            problem = SettingError(f"{_PREFIX}{port_setting}", f"port {port} needs more rights")
        else:
            problem = SettingError(f"{_PREFIX}HOST", f"can't listen on {host}: {error.strerror}")
        raise problem from None


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # aiosmtpd's sessions end with the error of the connection that was lost, which needs no report.
    if not isinstance(context.get("exception"), ConnectionError):
        loop.default_exception_handler(context)
