"""The DNS records that well-known providers ask for. Pure.

Each entry is from the provider's own documentation; docs/guides/providers has a page on each.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of relays.

    Attributes:
        name: its common name.
        hosts: patterns of its relays' names.
        include: what an SPF record includes to let it send; None if there is no fixed one.
        own_return_path: it puts a return path of its own domain, or of one that is set up there,
            into the envelope. SPF is judged by that one, so the From domain's record needs no
            include.
        selectors: the usual selectors of its DKIM keys; empty if they differ by account.
    """

    name: str
    hosts: tuple[str, ...]
    include: str | None = None
    own_return_path: bool = False
    selectors: tuple[str, ...] = ()


PROVIDERS = (
    Provider(
        "Amazon SES",
        ("email-smtp.*.amazonaws.com", "email-smtp-fips.*.amazonaws.com"),
        include="amazonses.com",
        own_return_path=True,
    ),
    Provider(
        "Microsoft 365",
        ("smtp.office365.com", "*.mail.protection.outlook.com"),
        include="spf.protection.outlook.com",
        selectors=("selector1", "selector2"),
    ),
    Provider(
        "Google Workspace",
        ("smtp.gmail.com", "smtp-relay.gmail.com"),
        include="_spf.google.com",
        selectors=("google",),
    ),
    Provider(
        "SendGrid",
        ("smtp.sendgrid.net", "smtp.eu.sendgrid.net"),
        include="sendgrid.net",
        own_return_path=True,
        selectors=("s1", "s2"),
    ),
    Provider(
        "Mailgun",
        ("smtp.mailgun.org", "smtp.eu.mailgun.org"),
        include="mailgun.org",
        own_return_path=True,
        selectors=("pdk1", "pdk2"),
    ),
    Provider(
        "Postmark",
        ("smtp.postmarkapp.com", "smtp-broadcasts.postmarkapp.com"),
        include="spf.mtasv.net",
        own_return_path=True,
    ),
    Provider(
        "Brevo",
        ("smtp-relay.brevo.com", "smtp-relay.sendinblue.com"),
        include="spf.brevo.com",
        own_return_path=True,
        selectors=("brevo1", "brevo2", "mail"),
    ),
)


def provider_of(host: str) -> Provider | None:
    """Return the provider of a relay; None if it is no well-known one."""
    name = host.rstrip(".").lower()
    return next(
        (each for each in PROVIDERS if any(fnmatchcase(name, pattern) for pattern in each.hosts)),
        None,
    )
