"""How mails are signed by DKIM."""

from typing import Annotated

from pydantic import Field

from mailtopic_operator.model.base import Model, checked, rule
from mailtopic_operator.model.references import ObjectName

SELECTOR = "^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$"
# Its last label begins with a letter: an IP address can't be a signing domain.
DOMAIN = "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"

Selector = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        json_schema_extra=checked(
            rule(
                f"self.matches('{SELECTOR}')",
                "write a selector: letters, digits, hyphens and dots, such as 2026a",
            )
        ),
    ),
]
Domain = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        json_schema_extra=checked(
            rule(f"self.matches('{DOMAIN}')", "write a domain in lower case, such as example.net")
        ),
    ),
]


class SigningKeysRef(Model):
    """A Secret with private keys."""

    name: ObjectName
    """The Secret's name, in the namespace of the MailTopic. It holds a key <selector>.pem for each
    selector: RSA or Ed25519, unencrypted. A change rolls the senders.
    """


class Dkim(Model):
    """How mails are signed (RFC 6376)."""

    keys_secret_ref: SigningKeysRef
    """The Secret with the private keys."""

    selectors: Annotated[
        tuple[Selector, ...],
        Field(min_length=1, max_length=4, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ]
    """Names of the keys; their public keys are at <selector>._domainkey.<domain> in the DNS. A mail
    is signed with each.
    """

    domain: Domain | None = None
    """The signing domain. Unset: the domain of from.address."""
