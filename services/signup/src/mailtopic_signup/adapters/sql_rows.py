"""Challenges as rows, and rows as challenges."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row

from mailtopic_signup.domain.challenge import AddressCodes, Challenge, Delivery
from mailtopic_signup.domain.code import CodeSeed, new_seed
from mailtopic_signup.ports import MailedCode, MailOrder, NewChallenge

CODE_COLUMNS = ("code_seed", "code_key_id", "short_for", "short_until", "long_until")
"""The columns of address_limits that `codes_of` and `mailed_code` read."""


def challenge_row(challenge: NewChallenge, user_id: object, mail_id: UUID) -> dict[str, object]:
    """Return the row of a new challenge that got a mail."""
    return {
        "id": challenge.id,
        "user_id": user_id,
        "address_key": challenge.address_key,
        "mailbox_key": challenge.mailbox_key,
        "purpose": challenge.purpose,
        "locale": challenge.locale,
        "code_for": "",
        "code_key_id": "",
        "code_digest": b"",
        "tries": 0,
        "created_at": challenge.created_at,
        "expires_at": challenge.expires_at,
        "resend_after": challenge.resend_after,
        "mail_id": mail_id,
        "delivery": Delivery.QUEUED,
        # Set even if empty, so that every signup is the same statement.
        "delivery_at": None,
        "code_until": None,
    }


def latest_mail(latest: Row[Any] | None) -> dict[str, object]:
    """Return what a challenge without its own mail takes over from its address's latest mail."""
    if latest is None:
        return {"mail_id": None}
    return {name: getattr(latest, name) for name in ("mail_id", "delivery", "delivery_at")}


def challenge_of(row: Row[Any]) -> Challenge:
    """Return the challenge that a row with its user and its limits holds."""
    return Challenge(
        id=row.id,
        user_id=row.user_id,
        address=row.address,
        address_key=row.address_key,
        mailbox_key=row.mailbox_key or row.address_key,
        purpose=row.purpose,
        locale=row.locale,
        codes=codes_of(row),
        tries=row.tries,
        created_at=row.created_at,
        expires_at=row.expires_at,
        resend_after=row.resend_after,
        verified_at=row.verified_at,
        delivery=Delivery(row.delivery),
        known_since=row.user_verified_at,
    )


def codes_of(row: Row[Any]) -> AddressCodes:
    """Return the codes that an address's limits hold."""
    seed = CodeSeed(row.code_key_id, row.code_seed) if row.code_seed is not None else None
    return AddressCodes(seed, row.short_for, row.short_until, row.long_until)


def mailed_code(row: Row[Any], order: MailOrder, challenge_id: str, short_until: int) -> MailedCode:
    """Return the code for the mail that was just counted in an address's limits.

    Without a grant it can be any code: its mail isn't stored.

    Args:
        row: the limits.
        order: the mail to make.
        challenge_id: the mail's challenge.
        short_until: when the code expires if it is a short one.
    """
    is_short = row.short_for == challenge_id and row.short_until == short_until
    seed = CodeSeed(row.code_key_id or order.key_id, row.code_seed or new_seed())
    until = row.short_until if is_short else max(row.long_until, short_until)
    return MailedCode(seed, is_long=not is_short, until=until)
