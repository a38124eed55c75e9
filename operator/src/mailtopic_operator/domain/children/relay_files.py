"""The senders' relays: a list in the environment, logins in files."""

import json
from collections.abc import Mapping
from typing import Any, Final

from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.model.base import rate_per_s
from mailtopic_operator.model.relay_logins import OAuth
from mailtopic_operator.model.relays import Relay

DIRECTORY: Final = "/etc/mailtopic/relays"
_OAUTH_CA: Final = "oauth-ca.crt"
_OAUTH_FILES: Final[Mapping[str, tuple[str, str]]] = {
    "clientSecretRef": ("client_secret_file", "client-secret"),
    "refreshTokenRef": ("refresh_token_file", "refresh-token"),
    "serviceAccountRef": ("service_account_file", "service-account.json"),
    "tokenRef": ("token_file", "token"),
}
"""The sender's setting and the file name of each secret."""


def relays_setting(desired: Desired) -> str:
    """Return MAILTOPIC_RELAYS: a JSON list without logins."""
    return json.dumps([_entry(relay) for relay in desired.spec.relays], ensure_ascii=False)


def _entry(relay: Relay) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": relay.name, "host": relay.host, "port": relay.port}
    if relay.security is not None:
        entry["security"] = relay.security.value
    entry["max_connections"] = relay.max_connections
    if relay.rate_limit is not None:
        entry["rate_per_s"] = rate_per_s(relay.rate_limit)
    if relay.credentials_secret_ref is not None:
        entry["username_file"] = f"{DIRECTORY}/{relay.name}/username"
        entry["password_file"] = f"{DIRECTORY}/{relay.name}/password"
    if relay.oauth is not None:
        entry["username"] = relay.username
        entry["oauth"] = _oauth(relay.oauth, f"{DIRECTORY}/{relay.name}")
    if relay.ca_secret_ref is not None:
        entry["ca_file"] = f"{DIRECTORY}/{relay.name}/ca.crt"
    return entry | _conversation(relay)


def _conversation(relay: Relay) -> dict[str, Any]:
    """The SMTP options that are set for a relay; senders have defaults for the others."""
    found: dict[str, Any] = {}
    if relay.mails_per_connection != Relay.model_fields["mails_per_connection"].default:
        found["mails_per_connection"] = relay.mails_per_connection
    if relay.mechanisms:
        found["mechanisms"] = [mechanism.value for mechanism in relay.mechanisms]
    if not relay.pipelining:
        found["pipelining"] = False
    if relay.ehlo_name is not None:
        found["ehlo_name"] = relay.ehlo_name
    if relay.timeouts is not None:
        found["timeouts"] = relay.timeouts.model_dump(exclude_none=True)
    return found


def _oauth(oauth: OAuth, folder: str) -> dict[str, Any]:
    settings = {"token_url": oauth.token_url, "client_id": oauth.client_id, "scope": oauth.scope}
    found = {name: value for name, value in settings.items() if value is not None}
    for field in oauth.secret_refs:
        setting, file = _OAUTH_FILES[field]
        found[setting] = f"{folder}/{file}"
    if oauth.ca_secret_ref is not None:
        found["ca_file"] = f"{folder}/{_OAUTH_CA}"
    return found


def relay_volume(desired: Desired) -> dict[str, Any] | None:
    """Return the volume with logins and CA certificates; None if there are none."""
    sources = [source for relay in desired.spec.relays for source in _sources(relay)]
    if not sources:
        return None
    return {"name": "relays", "projected": {"defaultMode": 0o440, "sources": sources}}


def _sources(relay: Relay) -> list[dict[str, Any]]:
    sources = []
    login, ca = relay.credentials_secret_ref, relay.ca_secret_ref
    if login is not None:
        # Both may have the same key.
        items = [(login.username_key, "username"), (login.password_key, "password")]
        sources.append(_secret(login.name, relay.name, *items))
    if ca is not None:
        sources.append(_secret(ca.name, relay.name, (ca.key, "ca.crt")))
    if relay.oauth is not None:
        for field, ref in relay.oauth.secret_refs.items():
            sources.append(_secret(ref.name, relay.name, (ref.key, _OAUTH_FILES[field][1])))
        if relay.oauth.ca_secret_ref is not None:
            authority = relay.oauth.ca_secret_ref
            sources.append(_secret(authority.name, relay.name, (authority.key, _OAUTH_CA)))
    return sources


def _secret(name: str, folder: str, *items: tuple[str, str]) -> dict[str, Any]:
    paths = [{"key": key, "path": f"{folder}/{path}"} for key, path in items]
    return {"secret": {"name": name, "items": paths}}
