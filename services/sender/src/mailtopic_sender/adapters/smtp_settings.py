"""The settings of a relay."""

import ssl
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from mailtopic_runtime import SettingError
from mailtopic_sender.domain.replies import ReplyRule


class Security(StrEnum):
    """How the link to a relay is protected. There is no opportunistic mode and no downgrade."""

    STARTTLS = "StartTLS"
    TLS = "TLS"
    NONE = "None"


class Mechanism(StrEnum):
    """A way to log in: SASL mechanisms (RFC 4616, 2195, 7628), LOGIN, and Google's XOAUTH2."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    CRAM_MD5 = "CRAM-MD5"
    XOAUTH2 = "XOAUTH2"
    OAUTHBEARER = "OAUTHBEARER"

    @property
    def needs_token(self) -> bool:
        """Whether it uses an OAuth token, not a password."""
        return self in {Mechanism.XOAUTH2, Mechanism.OAUTHBEARER}


@dataclass(frozen=True, slots=True)
class SmtpTimeouts:
    """How long each phase may take, seconds.

    RFC 5321 §4.5.3.2 recommends minutes everywhere. The defaults are shorter, because a code is
    useless after minutes and another relay may accept the mail; but after the final dot, where a
    spurious timeout would cause second copies, the default is long.
    """

    connect_s: float = 10.0
    """Resolving the name; then connecting, to each of its addresses."""
    greeting_s: float = 60.0
    """The greeting, and with Security.TLS the handshake."""
    command_s: float = 30.0
    """EHLO, STARTTLS with its handshake, AUTH: each."""
    envelope_s: float = 60.0
    """MAIL, RCPT and DATA: each."""
    block_s: float = 60.0
    """Writing the message, while the relay is slow to read it."""
    dot_s: float = 300.0
    """The reply to the final dot; after this timeout, the mail's fate is unknown."""


@dataclass(frozen=True, slots=True)
class OAuthSettings:
    """The source of access tokens. Exactly one of four, in this order of precedence.

    Attributes:
        token_file: a file with a token that another program renews; it is read for each login.
        service_account: the JSON key of a Google service account (RFC 7523 §2.1).
        refresh_token: RFC 6749 §6, with client_id and, for most providers, client_secret.
        client_secret: client credentials, RFC 6749 §4.4, with client_id.
        token_url: the token endpoint; https, or http on loopback.
        scope: the requested scopes, separated by spaces.
        ca_file: PEM file of the authorities to trust at the token endpoint; None: the system's.
        ca_setting: the user's name for the setting of that file.
        files: the files from which the three secrets were read and are read again, by the
            attribute's name.
    """

    token_url: str = ""
    client_id: str = ""
    client_secret: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    service_account: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    scope: str = ""
    ca_file: Path | None = None
    ca_setting: str = "MAILTOPIC_SMTP__OAUTH__CA_FILE"
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """A relay: its address, its login, and its limits.

    Attributes:
        host: name or address; with TLS it must be in the relay's certificate.
        port: 587 for submission with STARTTLS, 465 with TLS from the start (RFC 8314).
        name: for logs and metrics.
        username: with password or oauth; used whenever the relay offers AUTH.
        username_file: the file from which the username is read again for each login; while it can't
            be read, `username` is used. A service account keeps its initial name.
        password_file: the file from which the password is read again for each login; while it can't
            be read, `password` is used.
        oauth: log in with tokens, not with a password.
        mechanisms: permitted mechanisms, in order; empty for all that fit, the safest first.
        pipelining: whether to use PIPELINING where it is offered.
        ca_file: PEM file of the authorities to trust instead of the system's (which
            ``SSL_CERT_FILE`` may replace, too).
        ca_setting: the user's name for the setting of the CA file.
        max_connections: maximum at once, from one process.
        rate_per_s: mails a second of all processes together; None for no limit of ours.
        mails_per_connection: then a connection is closed; many relays limit their number.
        connection_age_s: the same, by age, seconds.
        idle_s: an unused connection is closed after this, seconds. Below 10, because Amazon SES
            closes silently at 10.
        ehlo_name: this host's name in EHLO; None for its FQDN, else its address.
        reply_rules: an operator's own rules for the meaning of replies.
    """

    host: str
    port: int = 587
    name: str = "default"
    security: Security = Security.STARTTLS
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    username_file: Path | None = None
    password_file: Path | None = None
    oauth: OAuthSettings | None = None
    mechanisms: tuple[Mechanism, ...] = ()
    pipelining: bool = True
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

    @property
    def account(self) -> str:
        """A key of 8 characters for the unit of a provider's limits: its host and the login."""
        account = f"{self.host.lower()}\n{self.port}\n{self.username or ''}".encode()
        return urlsafe_b64encode(sha256(account).digest()[:6]).decode()

    @property
    def credential_files(self) -> tuple[Path, ...]:
        """The files whose change may make a refused login succeed."""
        files = [self.username_file, self.password_file]
        if self.oauth is not None:
            files += [self.oauth.token_file, *self.oauth.files.values()]
        return tuple(file for file in files if file is not None)


def client_tls(relay: RelaySettings) -> ssl.SSLContext | None:
    """Return a TLS context that checks certificate and host name, TLS 1.2 or newer; None for none.

    Raises:
        SettingError: the CA file can't be read or holds no certificate.
    """
    if relay.security is Security.NONE:
        return None
    return tls_context(relay.ca_file, relay.ca_setting, whose="the relay's")


def tls_context(ca_file: Path | None, setting: str, *, whose: str) -> ssl.SSLContext:
    """Return a TLS context that checks certificate and host name, TLS 1.2 or newer.

    Raises:
        SettingError: the CA file can't be read or holds no certificate.
    """
    advice = f"give a PEM file of {whose} authority"
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        problem = f"it holds no certificate in PEM form; {advice}"
        raise SettingError(setting, problem) from None
    except OSError as error:
        raise SettingError(setting, f"it can't be read ({error.strerror}); {advice}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
