"""The secrets of a devstack: made at the first start, kept in its directory."""

import base64
import json
import secrets

from mailtopic_cli.devstack.state_dir import StateDir
from mailtopic_cli.private_files import write_private

_KEY_BYTES = 32


def ensure_keys(state: StateDir) -> None:
    """Make the key files that are missing. Existing ones are kept: old mails need them."""
    from mailtopic_contract import KeyRing  # noqa: PLC0415 - with its cryptography, rarely needed

    if not state.sealing_keys.exists():
        write_private(state.sealing_keys, KeyRing.generate().dump().encode())
    if not state.pepper_keys.exists():
        key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
        document = {"active": "p1", "keys": {"p1": key}}
        write_private(state.pepper_keys, json.dumps(document).encode())
