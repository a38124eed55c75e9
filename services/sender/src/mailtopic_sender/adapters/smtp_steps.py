"""What can be watched of an opening: each step of it, as it is taken."""

import ssl
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Resolved(NamedTuple):
    """The relay's name has addresses."""

    addresses: tuple[str, ...]


class Connected(NamedTuple):
    """One of them took the connection."""

    address: str


class Greeted(NamedTuple):
    """The relay said what it is (RFC 5321 §4.2)."""

    code: int
    text: str


class Offered(NamedTuple):
    """The answer to EHLO: keywords in lower case, with their parameters.

    It comes twice around STARTTLS, and the second one counts (RFC 3207 §4.2).
    """

    extensions: Mapping[str, str]


class Secured(NamedTuple):
    """TLS is on, and the certificate is one that we trust; None: the transport tells nothing."""

    tls: ssl.SSLObject | None


class LoggedIn(NamedTuple):
    """The login was taken.

    Attributes:
        mechanism: such as PLAIN; None if the relay offers no login, so none was made.
    """

    mechanism: str | None


OpeningStep = Resolved | Connected | Greeted | Offered | Secured | LoggedIn
Watch = Callable[[OpeningStep], None]
"""Must neither block nor raise."""


def ignore(step: OpeningStep) -> None:
    """Watch nothing."""
    del step
