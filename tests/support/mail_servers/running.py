"""The mail servers by name, and how a test gets one."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from support.mail_servers.aiosmtpd import Aiosmtpd
from support.mail_servers.exim import Exim
from support.mail_servers.opensmtpd import OpenSmtpd
from support.mail_servers.packages import problem
from support.mail_servers.postfix import Postfix
from support.mail_servers.server import Limits, MailServer
from support.requirements import require

SERVERS: Mapping[str, Callable[[Path, Limits], MailServer]] = {
    "aiosmtpd": Aiosmtpd,
    "postfix": Postfix,
    "exim": Exim,
    "opensmtpd": OpenSmtpd,
}


@asynccontextmanager
async def running(
    name: str, directory: Path, limits: Limits | None = None
) -> AsyncIterator[MailServer]:
    """A server of its own for a test, or a skip that says what is missing."""
    missing = problem() if name != "aiosmtpd" else None
    if missing is not None:
        require("mail-servers", missing)
    server = SERVERS[name](directory, limits or Limits())
    try:
        await server.start()
        yield server
    finally:
        await server.kill()
