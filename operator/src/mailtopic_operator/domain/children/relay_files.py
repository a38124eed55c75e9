"""How senders are told of their relays: a list in the environment, logins in files."""

import json
from collections.abc import Mapping
from typing import Any, Final

from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.model.base import rate_per_s
from mailtopic_operator.model.relays import Relay

DIRECTORY: Final = "/etc/mailtopic/relays"


def relays_setting(desired: Desired) -> str:
    """Return MAILTOPIC_RELAYS: a JSON list without a login in it."""
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
    if relay.ca_secret_ref is not None:
        entry["ca_file"] = f"{DIRECTORY}/{relay.name}/ca.crt"
    return entry


def relay_volume(desired: Desired) -> dict[str, Any] | None:
    """Return the volume with logins and authorities; None if there are none."""
    sources = [source for relay in desired.spec.relays for source in _sources(relay)]
    if not sources:
        return None
    return {"name": "relays", "projected": {"defaultMode": 0o440, "sources": sources}}


def _sources(relay: Relay) -> list[dict[str, Any]]:
    sources = []
    login, ca = relay.credentials_secret_ref, relay.ca_secret_ref
    if login is not None:
        items = {login.username_key: "username", login.password_key: "password"}
        sources.append(_secret(login.name, relay.name, items))
    if ca is not None:
        sources.append(_secret(ca.name, relay.name, {ca.key: "ca.crt"}))
    return sources


def _secret(name: str, folder: str, items: Mapping[str, str]) -> dict[str, Any]:
    paths = [{"key": key, "path": f"{folder}/{path}"} for key, path in items.items()]
    return {"secret": {"name": name, "items": paths}}
