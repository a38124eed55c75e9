"""How senders log in at a relay with OAuth tokens, and by which mechanisms."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from mailtopic_operator.model.base import Model, checked, rule
from mailtopic_operator.model.references import CaRef, SecretKeyRef


class Mechanism(StrEnum):
    """A way to log in at a relay."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    CRAM_MD5 = "CRAM-MD5"
    XOAUTH2 = "XOAUTH2"
    OAUTHBEARER = "OAUTHBEARER"


TokenUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        json_schema_extra=checked(
            rule(
                r"self.matches('^https://[^\\s/@]+(/[^\\s@]*)?$')",
                "write the token endpoint's https address, such as"
                " https://login.example.com/token; without TLS, secrets could be read on the way",
            )
        ),
    ),
]


class OAuth(Model):
    """Access tokens to log in with, and where they come from: one of four sources."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            rule(
                "(has(self.tokenRef) ? 1 : 0) + (has(self.serviceAccountRef) ? 1 : 0)"
                " + (has(self.clientSecretRef) || has(self.refreshTokenRef) ? 1 : 0) == 1",
                "write one of clientSecretRef (client credentials), refreshTokenRef (with"
                " clientSecretRef, if the provider gave one), serviceAccountRef (Google) and"
                " tokenRef",
            ),
            rule(
                "(has(self.clientSecretRef) || has(self.refreshTokenRef))"
                " ? has(self.clientId) && has(self.tokenUrl) : !has(self.clientId)",
                "write clientId and tokenUrl beside clientSecretRef or refreshTokenRef, and no"
                " clientId elsewhere",
            ),
            rule(
                "!has(self.tokenRef)"
                " || !(has(self.tokenUrl) || has(self.scope) || has(self.caSecretRef))",
                "write tokenRef alone: that token is all that is needed",
            ),
        )
    )

    token_url: TokenUrl | None = None
    """The token endpoint, https. Unset: the one in the service account's key."""

    client_id: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """The application that requests tokens."""

    client_secret_ref: SecretKeyRef | None = None
    """The application's secret; alone: client credentials, as Microsoft 365 requires them."""

    refresh_token_ref: SecretKeyRef | None = None
    """A refresh token, obtained by a person's consent."""

    service_account_ref: SecretKeyRef | None = None
    """The JSON key of a Google service account that may act for the relay's username."""

    token_ref: SecretKeyRef | None = None
    """An access token that another tool renews."""

    scope: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    """The scope to request, such as https://outlook.office365.com/.default."""

    ca_secret_ref: CaRef | None = None
    """The Secret with the CA certificates for the token endpoint. Unset: the public CAs.
    """

    @property
    def secret_refs(self) -> Mapping[str, SecretKeyRef]:
        """The secrets by their field names in the resource."""
        named = {
            "clientSecretRef": self.client_secret_ref,
            "refreshTokenRef": self.refresh_token_ref,
            "serviceAccountRef": self.service_account_ref,
            "tokenRef": self.token_ref,
        }
        return {name: ref for name, ref in named.items() if ref is not None}
