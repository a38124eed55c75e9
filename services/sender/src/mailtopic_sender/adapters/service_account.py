"""The JSON key of a Google service account, as downloaded from the console."""

import json
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The content of a key.

    Attributes:
        email: the account.
        private_key: RSA, PEM.
        key_id: the key's name at the provider; "" for none.
        token_url: the token endpoint that it names; "" for none.
    """

    email: str
    private_key: str = field(repr=False)
    key_id: str
    token_url: str


def parse_service_account(text: str) -> ServiceAccount:
    """Return the content of a key.

    Raises:
        ValueError: the text isn't such a key; the message says why and quotes nothing.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON; give the key file of a service account") from None
    if not isinstance(found, dict) or found.get("type", "service_account") != "service_account":
        raise ValueError("is not the key of a service account (type: service_account)")
    lacking = [name for name in ("client_email", "private_key") if not _text(found, name)]
    if lacking:
        raise ValueError(f"lacks {' and '.join(lacking)}; give the key file as it was made")
    try:
        key = load_pem_private_key(_text(found, "private_key").encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("holds a private_key that is no PEM key without a password") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("holds a private_key that is not RSA")  # noqa: TRY004 - input, no bug
    return ServiceAccount(
        email=_text(found, "client_email"),
        private_key=_text(found, "private_key"),
        key_id=_text(found, "private_key_id"),
        token_url=_text(found, "token_uri"),
    )


def _text(found: dict[str, object], name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""
