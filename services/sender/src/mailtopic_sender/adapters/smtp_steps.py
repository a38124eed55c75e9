"""The steps of an opening, for observers."""

import ssl
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Resolved(NamedTuple):
    """The relay's name was resolved."""

    addresses: tuple[str, ...]


class Connected(NamedTuple):
    """One of the addresses accepted the connection."""

    address: str


class Greeted(NamedTuple):
    """The relay sent its greeting (RFC 5321 §4.2)."""

    code: int
    text: str


class Offered(NamedTuple):
    """The reply to EHLO: keywords in lower case, with their parameters.

    It comes twice around STARTTLS, and the second one counts (RFC 3207 §4.2).
    """

    extensions: Mapping[str, str]


class Secured(NamedTuple):
    """TLS is on, with a trusted certificate; None: the transport provides no details."""

    tls: ssl.SSLObject | None


class LoggedIn(NamedTuple):
    """The login succeeded.

    Attributes:
        mechanism: such as PLAIN; None if the relay offers no login, so none was made.
    """

    mechanism: str | None


OpeningStep = Resolved | Connected | Greeted | Offered | Secured | LoggedIn
Watch = Callable[[OpeningStep], None]
"""Must neither block nor raise."""


def ignore(step: OpeningStep) -> None:
    """Ignore all steps."""
    del step
