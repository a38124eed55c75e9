"""Challenges as rows, and rows as challenges."""

from typing import Any

from sqlalchemy import Row

from mailtopic_signup.domain.challenge import Challenge, Delivery
from mailtopic_signup.domain.code import UNMATCHABLE, CodeMac
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
        # Named even where they are empty, so that every signup is the same statement.
        "delivery_at": None,
        "code_until": None,
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
        code_until=row.code_until or row.expires_at,
        tries=row.tries,
        created_at=row.created_at,
        expires_at=row.expires_at,
        resend_after=row.resend_after,
        verified_at=row.verified_at,
        delivery=Delivery(row.delivery),
        failures=row.failures,
        last_failure_at=row.last_failure_at,
        is_known=row.user_verified_at is not None,
    )


def shared_code(latest: Row[Any] | None, user_id: object, now_ms: int) -> dict[str, object]:
    """Return what a challenge without a mail of its own takes over from its address's latest one.

    The mail and its delivery in any case; its code as long as it is unused and valid, and only for
    the exact address: Bob@ and bob@ share limits, but not codes.
    """
    if latest is None:
        return {"mail_id": None, "code_digest": UNMATCHABLE}
    found = {"mail_id": latest.mail_id, "delivery": latest.delivery}
    found["delivery_at"] = latest.delivery_at
    code_until = latest.code_until or latest.expires_at
    is_used_up = latest.verified_at is not None or code_until <= now_ms
    if latest.user_id != user_id or is_used_up:
        return found | {"code_digest": UNMATCHABLE}
    return found | {
        "code_for": latest.code_for,
        "code_key_id": latest.code_key_id,
        "code_digest": latest.code_digest,
        "code_until": code_until,
    }
