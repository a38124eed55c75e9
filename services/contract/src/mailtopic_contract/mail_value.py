"""A new mail's value, encoded directly: the same bytes as through a model, much faster."""

import json
import re
from collections.abc import Mapping
from uuid import UUID

from mailtopic_contract.address import Address
from mailtopic_contract.mail_seal import BoundFields, MailSeal
from mailtopic_contract.record import LOCALE_PATTERN, MAX_TIME_MS, NAME_PATTERN, new_record

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
    seal: MailSeal | None,
) -> bytes:
    """Return the value of a mail to publish, its variables sealed when its topic's seal is given.

    Raises:
        RecordError: an argument contradicts the contract.
    """
    is_plain = (
        seal is not None
        and _PURPOSE.fullmatch(purpose)
        and _LOCALE.fullmatch(locale)
        and _KEY_ID.fullmatch(seal.keyring.active)
        and all(_is_plain(name, text) for name, text in variables.items())
        and 0 <= accepted_at_ms <= MAX_TIME_MS
        and 0 <= expires_at_ms <= MAX_TIME_MS
    )
    if seal is None or not is_plain:
        # All unusual and invalid input is handled there.
        return new_record(
            email=address.normalised,
            variables=variables,
            purpose=purpose,
            locale=locale,
            accepted_at_ms=accepted_at_ms,
            expires_at_ms=expires_at_ms,
            seal=seal,
            mail_id=mail_id,
        ).encode()
    email = _to_json(address.normalised)
    bound = BoundFields(mail_id, address.normalised, purpose, locale, accepted_at_ms, expires_at_ms)
    return (
        f'{{"v":1,"id":"{mail_id}","email":{email},"purpose":"{purpose}","locale":"{locale}",'
        f'"sealed":{seal.seal_json(bound, variables)},'
        f'"accepted_at":{accepted_at_ms},"expires_at":{expires_at_ms}}}'
    ).encode()


def _is_plain(name: str, text: str) -> bool:
    return _PURPOSE.fullmatch(name) is not None and text.isascii()
