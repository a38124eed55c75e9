"""A new mail's value, encoded directly: the same bytes as through a model, much faster."""

import json
import re
from collections.abc import Mapping
from uuid import UUID

from mailtopic_contract.address import Address
from mailtopic_contract.record import LOCALE_PATTERN, MAX_TIME_MS, NAME_PATTERN, new_record
from mailtopic_contract.sealing import KeyRing

_PURPOSE = re.compile(NAME_PATTERN)
_LOCALE = re.compile(LOCALE_PATTERN)
_to_json = json.JSONEncoder(ensure_ascii=False).encode
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def encode_mail(
    address: Address,
    variables: Mapping[str, str],
    *,
    mail_id: UUID,
    purpose: str,
    locale: str,
    accepted_at_ms: int,
    expires_at_ms: int,
    keyring: KeyRing | None,
) -> bytes:
    """Return the value of a mail to publish, its variables sealed when a key ring is given.

    Raises:
        RecordError: an argument contradicts the contract.
    """
    is_plain = (
        keyring is not None
        and _PURPOSE.fullmatch(purpose)
        and _LOCALE.fullmatch(locale)
        and _KEY_ID.fullmatch(keyring.active)
        and all(_is_plain(name, text) for name, text in variables.items())
        and 0 <= accepted_at_ms <= MAX_TIME_MS
        and 0 <= expires_at_ms <= MAX_TIME_MS
    )
    if keyring is None or not is_plain:
        # All unusual and invalid input is handled there.
        return new_record(
            email=address.normalised,
            variables=variables,
            purpose=purpose,
            locale=locale,
            accepted_at_ms=accepted_at_ms,
            expires_at_ms=expires_at_ms,
            keyring=keyring,
            mail_id=mail_id,
        ).encode()
    kid, nonce, ciphertext = keyring.seal_texts(mail_id, variables)
    email = _to_json(address.normalised)
    return (
        f'{{"v":1,"id":"{mail_id}","email":{email},"purpose":"{purpose}","locale":"{locale}",'
        f'"sealed":{{"kid":"{kid}","n":"{nonce}","ct":"{ciphertext}"}},'
        f'"accepted_at":{accepted_at_ms},"expires_at":{expires_at_ms}}}'
    ).encode()


def _is_plain(name: str, text: str) -> bool:
    return _PURPOSE.fullmatch(name) is not None and text.isascii()
