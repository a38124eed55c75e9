"""The relays of a MailTopic."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from mailtopic_operator.model.base import RATE, Model, checked, rule
from mailtopic_operator.model.references import CaRef, CredentialsRef

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


class Relay(Model):
    """An SMTP server that takes the mails."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            rule(
                "!has(self.security) || self.security != 'None' || self.allowInsecure",
                "without TLS, codes and passwords can be read on the way: write security:"
                " StartTLS or TLS, or allowInsecure: true beside None if you accept that",
            ),
        )
    )

    name: RelayName
    """What metrics, logs and status call the relay; different from the others' names."""

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
    """StartTLS, TLS (from the start) or None. Unset: TLS on port 465, StartTLS elsewhere. Nothing
    is ever downgraded: a relay that doesn't offer TLS gets no mail. None needs allowInsecure: true.
    """

    allow_insecure: bool = False
    """Accept that mails and logins of a relay with security: None can be read on the way."""

    credentials_secret_ref: CredentialsRef | None = None
    """The Secret with user and password. Unset: nobody logs in."""

    ca_secret_ref: CaRef | None = None
    """The Secret with the authorities that sign the relay's certificate. Unset: the public ones."""

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

    rate_limit: Rate | None = None
    """Mails that all senders together hand to the relay in a time, such as 14/s, 600/m or 50000/h.
    It also bounds the autoscaler, because more senders wouldn't send more. Unset: no limit.
    """
