"""The settings of the inbox: MAILTOPIC_INBOX__… in the environment."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from mailtopic_runtime import LogSettings, MailTopicSettings, SettingsGroup


class ListenSettings(SettingsGroup):
    """Where the inbox listens, and where it keeps its mails."""

    host: str = "127.0.0.1"
    """The address to listen on. By default only this machine can connect; a pod needs 0.0.0.0."""

    smtp_port: int = Field(default=1025, ge=0, le=65535)
    """The port for SMTP; 0 takes a free one."""

    http_port: int = Field(default=8025, ge=0, le=65535)
    """The port of the page, its API and the probes; 0 takes a free one."""

    tls_cert_file: Path | None = None
    """The certificate chain for STARTTLS, a PEM file; unset: no STARTTLS, and so no AUTH."""

    tls_key_file: Path | None = None
    """The private key of the certificate, a PEM file without a passphrase."""

    allowed_hosts: tuple[str, ...] = ()
    """Names under which page and API answer, beside localhost and 127.0.0.1: ``inbox``,
    ``*.svc.cluster.local``. There is no login, so requests for other names are refused."""

    data_file: Path | None = None
    """The SQLite file that keeps the mails; unset: in memory, gone when the process ends."""

    signup_url: str | None = None
    """A signup page that the page links to."""

    @model_validator(mode="after")
    def _certificate_and_key_come_together(self) -> Self:
        for missing, given, name in (
            (self.tls_cert_file, self.tls_key_file, "CERT"),
            (self.tls_key_file, self.tls_cert_file, "KEY"),
        ):
            if given is not None and missing is None:
                other = "KEY" if name == "CERT" else "CERT"
                raise ValueError(
                    f"MAILTOPIC_INBOX__TLS_{name}_FILE is required with "
                    f"MAILTOPIC_INBOX__TLS_{other}_FILE"
                )
        return self


class InboxSettings(MailTopicSettings):
    """Everything that `mailtopic-inbox` reads from its environment."""

    inbox: ListenSettings = ListenSettings()
    log: LogSettings = LogSettings()
