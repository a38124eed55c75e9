"""What is known about a relay before it is first tried."""

import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from mailtopic_runtime import SettingError
from mailtopic_sender.domain.replies import ReplyRule


class Security(StrEnum):
    """How the link to a relay is protected. There is no "if possible": nothing is downgraded."""

    STARTTLS = "StartTLS"
    TLS = "TLS"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class SmtpTimeouts:
    """How long each phase may take, seconds.

    The defaults suit a relay one has an account with. RFC 5321 §4.5.3.2 asks for minutes where a
    spurious timeout makes second copies: after the final dot; so that one stays long.
    """

    connect_s: float = 10.0
    """Resolving the name and connecting, all addresses together."""
    banner_s: float = 30.0
    """The greeting, and with Security.TLS the handshake."""
    session_s: float = 30.0
    """EHLO, STARTTLS with its handshake, AUTH: each."""
    envelope_s: float = 60.0
    """MAIL, RCPT and DATA: each."""
    block_s: float = 60.0
    """Writing the message, as far as the relay is slow to read it."""
    dot_s: float = 300.0
    """The reply to the final dot; when it runs out, the mail's fate is unknown."""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """A relay: where it is, how to log in, and how much to ask of it.

    Attributes:
        host: name or address; with TLS it must be in the relay's certificate.
        port: 587 for submission with STARTTLS, 465 with TLS from the start (RFC 8314).
        name: for logs and metrics.
        username: with password; used whenever the relay offers AUTH.
        ca_file: PEM file of the authorities to trust instead of the system's (which
            ``SSL_CERT_FILE`` may replace, too).
        ca_setting: what the user calls the setting of the CA file.
        max_connections: at most as many at once, from one process.
        rate_per_s: mails a second of all processes together; None for no limit of ours.
        mails_per_connection: then a connection is closed; relays dislike endless ones.
        connection_age_s: the same, by age, seconds.
        idle_s: an unused connection is closed after this, seconds. Below 10, because Amazon SES
            closes at 10 without a word.
        ehlo_name: how this host calls itself; None for its host name.
        reply_rules: an operator's own rules of what replies mean.
    """

    host: str
    port: int = 587
    name: str = "default"
    security: Security = Security.STARTTLS
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    ca_setting: str = "MAILTOPIC_SMTP__CA_FILE"
    max_connections: int = 10
    rate_per_s: float | None = None
    mails_per_connection: int = 100
    connection_age_s: float = 300.0
    idle_s: float = 9.0
    ehlo_name: str | None = None
    timeouts: SmtpTimeouts = SmtpTimeouts()
    reply_rules: tuple[ReplyRule, ...] = ()


def client_tls(relay: RelaySettings) -> ssl.SSLContext | None:
    """Return a TLS context that checks certificate and host name, TLS 1.2 or newer; None for none.

    Raises:
        SettingError: the CA file can't be read or holds no certificate.
    """
    if relay.security is Security.NONE:
        return None
    try:
        context = ssl.create_default_context(cafile=relay.ca_file)
    except ssl.SSLError:
        raise _bad_ca_file(relay, "it holds no certificate in PEM form") from None
    except OSError as error:
        raise _bad_ca_file(relay, f"it can't be read ({error.strerror})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _bad_ca_file(relay: RelaySettings, problem: str) -> SettingError:
    return SettingError(relay.ca_setting, f"{problem}; give a PEM file of the relay's authority")
