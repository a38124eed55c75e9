"""The inbox of this machine: `mailtopic-inbox` with settings that keep it to loopback."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from mailtopic_cli.certificates import ensure_certificates

COMMAND = ("-m", "mailtopic_inbox")


def inbox_environment(
    data_dir: Path, *, http_port: int, smtp_port: int, signup_url: str | None
) -> dict[str, str]:
    """The settings of an inbox on 127.0.0.1 that keeps its files in `data_dir`."""
    certificate = str(data_dir / "server.pem")
    return {
        "MAILTOPIC_INBOX__HOST": "127.0.0.1",
        "MAILTOPIC_INBOX__HTTP_PORT": str(http_port),
        "MAILTOPIC_INBOX__SMTP_PORT": str(smtp_port),
        "MAILTOPIC_INBOX__TLS_CERT_FILE": certificate,
        "MAILTOPIC_INBOX__TLS_KEY_FILE": certificate,
        "MAILTOPIC_INBOX__DATA_FILE": str(data_dir / "mails.db"),
        "MAILTOPIC_INBOX__SIGNUP_URL": signup_url or "",
    }


def become_inbox(
    data_dir: Path, *, http_port: int, smtp_port: int, signup_url: str | None
) -> NoReturn:
    """Make the certificate if it is missing, then replace this process by the inbox.

    Raises:
        OSError: the directory can't be used.
    """
    ensure_certificates(data_dir)
    settings = inbox_environment(
        data_dir, http_port=http_port, smtp_port=smtp_port, signup_url=signup_url
    )
    os.execve(  # noqa: S606 - our own program
        sys.executable, [sys.executable, *COMMAND], {**os.environ, **settings}
    )
