"""The relays of a MailTopic."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from mailtopic_operator.model.base import RATE, Model, checked, rule
from mailtopic_operator.model.references import CaRef, CredentialsRef
from mailtopic_operator.model.relay_logins import Mechanism, OAuth

TLS_PORT = 465


class Security(StrEnum):
    """How the link to a relay is protected."""

    STARTTLS = "StartTLS"
    TLS = "TLS"
    NONE = "None"


RelayName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        json_schema_extra=checked(
            rule(
                r"self.matches('^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$')",
                "write a name of letters, digits, dots, dashes and underscores that begins and ends"
                " with a letter or digit, such as ses or backup",
            )
        ),
    ),
]
Host = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        json_schema_extra=checked(
            rule(
                r"self.matches('^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$')"
                r" || (self.contains(':') && isIP(self))",
                "write the host's name or IP address alone, such as smtp.example.net, without a"
                " scheme or spaces; the port goes into port",
            )
        ),
    ),
]
Rate = Annotated[
    str,
    Field(
        pattern=RATE,
        max_length=32,
        json_schema_extra=checked(
            rule(
                f"self.matches('{RATE}')",
                "write a whole number of mails and the time they may take, such as 14/s or 600/m",
            )
        ),
    ),
]


EhloName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        json_schema_extra=checked(
            rule(
                r"self.matches('^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$')"
                r" || self.matches('^\\[(IPv6:)?[0-9A-Fa-f:.]+\\]$')",
                "write a full host name, such as mail.example.com, or an address literal, such as"
                " [192.0.2.1]",
            )
        ),
    ),
]
Seconds = Annotated[
    float,
    Field(
        gt=0,
        le=3600,
        json_schema_extra=checked(
            rule("self > 0.0 && self <= 3600.0", "write seconds, above 0 and up to 3600")
        ),
    ),
]


class Timeouts(Model):
    """How long a relay may take (RFC 5321 §4.5.3.2), in seconds. Unset: the sender's defaults."""

    connect_s: Seconds | None = None
    """For resolving the relay's name, and for connecting to each of its addresses; default 10."""

    greeting_s: Seconds | None = None
    """Until the relay's greeting, including the handshake with TLS from the start; default 60."""

    command_s: Seconds | None = None
    """For EHLO, STARTTLS and AUTH, each; default 30."""

    envelope_s: Seconds | None = None
    """For MAIL, RCPT and DATA, each; default 60."""

    block_s: Seconds | None = None
    """For sending the message while the relay is slow to read it; default 60."""

    dot_s: Seconds | None = None
    """For the reply to the final dot; after that the mail's outcome is unknown; default 300."""


class Relay(Model):
    """An SMTP server that takes the mails."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            rule(
                "!has(self.security) || self.security != 'None' || self.allowInsecure",
                "without TLS, codes and passwords can be read on the way: write security:"
                " StartTLS or TLS, or allowInsecure: true beside None if you accept that",
            ),
            rule(
                "!(has(self.oauth) && has(self.credentialsSecretRef))",
                "write credentialsSecretRef, for a password, or oauth, for tokens, but not both of"
                " them",
            ),
            rule(
                "has(self.oauth) == has(self.username)",
                "write username, the mailbox that the tokens are for, beside oauth; without oauth,"
                " it goes into the Secret of credentialsSecretRef",
            ),
            rule(
                "!has(self.mechanisms) || self.mechanisms.all(each,"
                " (each in ['XOAUTH2', 'OAUTHBEARER']) == has(self.oauth))",
                "write mechanisms that fit: XOAUTH2 and OAUTHBEARER take the tokens of oauth;"
                " PLAIN, LOGIN and CRAM-MD5 a password",
            ),
        )
    )

    name: RelayName
    """The relay's name in metrics, logs and status; unique within the MailTopic."""

    host: Host
    """The relay's host name or IP address; its certificate must be for it."""

    port: Annotated[
        int,
        Field(
            ge=1,
            le=65535,
            json_schema_extra=checked(
                rule(
                    "self >= 1 && self <= 65535",
                    "write a port from 1 to 65535: 587 for submission, 465 for TLS from the start",
                )
            ),
        ),
    ] = 587
    """The relay's port: 587 for submission, 465 for TLS from the start (RFC 8314)."""

    security: Security | None = None
    """StartTLS, TLS (from the start) or None. Unset: TLS on port 465, StartTLS elsewhere. There is
    no downgrade: a relay that doesn't offer TLS gets no mail. None needs allowInsecure: true.
    """

    allow_insecure: bool = False
    """Accept that mails and logins of a relay with security: None can be read on the way."""

    credentials_secret_ref: CredentialsRef | None = None
    """The Secret with username and password. Unset: senders don't log in."""

    username: Annotated[str, Field(min_length=1, max_length=320)] | None = None
    """The mailbox that the tokens of oauth are for."""

    oauth: OAuth | None = None
    """Tokens to log in with, instead of credentialsSecretRef."""

    mechanisms: Annotated[list[Mechanism], Field(max_length=5)] = Field(default_factory=list)
    """Allowed SASL mechanisms, in order. Unset: those that suit the login and the relay offers. One
    that doesn't work is skipped.
    """

    ca_secret_ref: CaRef | None = None
    """The Secret with the CA certificates for the relay. Unset: the public CAs."""

    max_connections: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            json_schema_extra=checked(
                rule("self >= 1 && self <= 1000", "write 1 to 1000 connections; the default is 10")
            ),
        ),
    ] = 10
    """Connections that one sender opens to the relay; providers limit them."""

    mails_per_connection: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            json_schema_extra=checked(
                rule("self >= 1 && self <= 1000000", "write 1 to 1000000 mails; the default is 100")
            ),
        ),
    ] = 100
    """Mails after which a connection is closed and another opened; providers limit that, too. Your
    own relay may take thousands.
    """

    pipelining: bool = True
    """Whether commands are sent without waiting for each reply where the relay offers it."""

    ehlo_name: EhloName | None = None
    """The senders' name in EHLO. Unset: the pod's address, such as [10.1.2.3]."""

    timeouts: Timeouts | None = None
    """How long the relay may take."""

    rate_limit: Rate | None = None
    """The most mails that all senders together hand to the relay in a time, such as 14/s, 600/m or
    50000/h. It also bounds the autoscaler, because more senders wouldn't send more. Unset: the rate
    that the senders learn does both.
    """
