"""The composition root of the inbox: store, SMTP and HTTP in one process."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from mailtopic_cli.inbox.events import EventFeed
from mailtopic_cli.inbox.http import create_app
from mailtopic_cli.inbox.smtp import InboxSmtp
from mailtopic_cli.inbox.store import MailStore
from mailtopic_cli.inbox.tls import ensure_certificates, server_context
from mailtopic_runtime import (
    EXIT_OK,
    LogSettings,
    MailTopicSettings,
    SettingError,
    configure_logging,
    get_logger,
    load_settings,
    stop_on_signals,
)

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class InboxOptions:
    """Where the inbox listens (on 127.0.0.1; 0 takes a free port) and keeps its files."""

    data_dir: Path
    http_port: int = 8025
    smtp_port: int = 1025
    signup_url: str | None = None


class InboxSettings(MailTopicSettings):
    """What the inbox takes from the environment; the rest are options of its command."""

    log: LogSettings = LogSettings()


async def run_inbox(options: InboxOptions) -> int:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingError: a port is taken or the directory cannot be used.
    """
    configure_logging(load_settings(InboxSettings, "mailtopic inbox").log)
    log = get_logger("mailtopic.inbox")
    asyncio.get_running_loop().set_exception_handler(_on_loop_error)
    stopping = stop_on_signals()
    try:
        options.data_dir.mkdir(parents=True, exist_ok=True)
        ensure_certificates(options.data_dir)
        tls = server_context(options.data_dir)
    except OSError as error:
        raise SettingError("--data-dir", f"cannot be used: {error.strerror}") from None
    store, feed = MailStore(options.data_dir / "mails.db"), EventFeed()
    store.on_new_mail(feed.publish)
    smtp = InboxSmtp(store, tls)
    try:
        listener = _listen(options.http_port)
        smtp_port = await _start_smtp(smtp, options.smtp_port)
        server = _HttpServer(
            uvicorn.Config(
                create_app(store, feed, options.signup_url),
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                loop="asyncio",
                timeout_graceful_shutdown=2,
            )
        )
        serving = asyncio.create_task(server.serve([listener]))
        log.info("inbox.ready", http_port=listener.getsockname()[1], smtp_port=smtp_port)
        await stopping.wait()
        feed.close()
        server.should_exit = True
        await serving
    finally:
        await smtp.stop()
        store.close()
    log.info("inbox.stopped")
    return EXIT_OK


class _HttpServer(uvicorn.Server):
    """uvicorn without its own handling of signals: the process has one already."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise SettingError("--http-port", f"port {port} is taken") from None
    return listener


async def _start_smtp(smtp: InboxSmtp, port: int) -> int:
    try:
        return await smtp.start(HOST, port)
    except OSError:
        raise SettingError("--smtp-port", f"port {port} is taken") from None


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # aiosmtpd's sessions end with the error of the connection that was lost, which is no news.
    if not isinstance(context.get("exception"), ConnectionError):
        loop.default_exception_handler(context)
