"""Challenges as rows, and rows as challenges."""

from typing import Any

from sqlalchemy import Row

from mailtopic_signup.domain.challenge import Challenge, Delivery
from mailtopic_signup.domain.code import CodeMac
from mailtopic_signup.ports import NewChallenge, OutboxMail


def challenge_row(challenge: NewChallenge, user_id: object, mail: OutboxMail) -> dict[str, object]:
    """Return the row of a new challenge whose code the mail brings."""
    return {
        "id": challenge.id,
        "user_id": user_id,
        "address_key": challenge.address_key,
        "purpose": challenge.purpose,
        "locale": challenge.locale,
        "code_for": challenge.id,
        "code_key_id": challenge.code.key_id,
        "code_digest": challenge.code.digest,
        "tries": 0,
        "created_at": challenge.created_at,
        "expires_at": challenge.expires_at,
        "resend_after": challenge.resend_after,
        "mail_id": mail.id,
        "delivery": Delivery.QUEUED,
    }


def challenge_of(row: Row[Any]) -> Challenge:
    """Return the challenge that a row with its user and its limits holds."""
    return Challenge(
        id=row.id,
        user_id=row.user_id,
        address=row.address,
        address_key=row.address_key,
        purpose=row.purpose,
        locale=row.locale,
        code=CodeMac(row.code_key_id, row.code_digest),
        code_for=row.code_for,
        tries=row.tries,
        created_at=row.created_at,
        expires_at=row.expires_at,
        resend_after=row.resend_after,
        verified_at=row.verified_at,
        delivery=Delivery(row.delivery),
        failures=row.failures,
        last_failure_at=row.last_failure_at,
    )
