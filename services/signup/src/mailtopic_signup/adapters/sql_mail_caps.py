"""Which address may get a mail now: one statement each, so that no two requests share a grant."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Executable,
    bindparam,
    case,
    literal,
    or_,
    update,
)

from mailtopic_signup.adapters.sql_bulk import Rows, upsert_into
from mailtopic_signup.adapters.sql_tables import address_limits
from mailtopic_signup.domain.challenge import DAY_MS, HOUR_MS, MailCaps

_limits = address_limits.c
FIRST_MAIL = {
    name: _limits[name].type for name in ("address_key", "last_mail_id", "last_challenge_id")
} | {"now": BigInteger()}
"""What a signup's row says: whose mail it would be, and when."""


def take_first_mails(rows: Rows, caps: MailCaps, *, is_sqlite: bool) -> Executable:
    """Return the statement of signups: from then on ``last_challenge_id`` says whose the mail is.

    It is the same for addresses that have a row and for those that get one. ``rows`` are of
    FIRST_MAIL.
    """
    now = rows["now"]
    first = {
        "address_key": rows["address_key"],
        "next_mail_at": now + _pause_after(caps, literal(1), literal(1)),
        "last_mail_id": rows["last_mail_id"],
        "last_challenge_id": rows["last_challenge_id"],
        "failures": literal(0),
        "last_failure_at": literal(0, BigInteger),
        "mails_in_hour": literal(1),
        "mails_in_day": literal(1),
        "last_mail_at": now,
        "asked_at": now,
    }
    new = upsert_into(address_limits, is_sqlite=is_sqlite)
    new = new.from_select(list(first), rows.select(*first.values()))
    given = new.excluded
    now = given.asked_at
    taken = _taken(caps, now, given.last_mail_id, given.last_challenge_id)
    is_free = _is_free(caps, now)
    changed = {name: case((is_free, value), else_=_limits[name]) for name, value in taken.items()}
    changed["asked_at"] = case((_limits.asked_at < now, now), else_=_limits.asked_at)
    statement: Executable = new.on_conflict_do_update(index_elements=["address_key"], set_=changed)
    return statement


def take_next_mail(caps: MailCaps) -> Executable:
    """Return the statement of a resend: it changes a row if the address may get a mail now.

    Its parameters: ``wanted_key``, ``now``, ``mail_id`` and ``challenge_id``.
    """
    now: BindParameter[int] = bindparam("now", type_=BigInteger)
    taken = _taken(
        caps,
        now,
        bindparam("mail_id", type_=_limits.last_mail_id.type),
        bindparam("challenge_id", type_=_limits.last_challenge_id.type),
    )
    is_wanted = _limits.address_key == bindparam("wanted_key")
    return update(address_limits).where(is_wanted, _is_free(caps, now)).values(taken)


def _is_free(caps: MailCaps, now: ColumnElement[int]) -> ColumnElement[bool]:
    # A time so far ahead was never set by these rules: a clock was set back since.
    latest_next = now + literal(caps.cooldown_ms + 2 * DAY_MS, BigInteger)
    return or_(_limits.next_mail_at <= now, _limits.next_mail_at > latest_next)


def _taken(
    caps: MailCaps,
    now: ColumnElement[int],
    mail_id: ColumnElement[Any],
    challenge_id: ColumnElement[Any],
) -> dict[str, ColumnElement[Any]]:
    """Return an address's row as it is after it got a mail."""
    in_hour = _counted(_limits.mails_in_hour, now, HOUR_MS)
    in_day = _counted(_limits.mails_in_day, now, DAY_MS)
    return {
        "next_mail_at": now + _pause_after(caps, in_hour, in_day),
        "last_mail_id": mail_id,
        "last_challenge_id": challenge_id,
        "mails_in_hour": in_hour,
        "mails_in_day": in_day,
        "last_mail_at": now,
    }


def _counted(
    count: ColumnElement[int], now: ColumnElement[int], span_ms: int
) -> ColumnElement[int]:
    is_over = _limits.last_mail_at <= now - literal(span_ms, BigInteger)
    return case((is_over, literal(1)), else_=count + 1)


def _pause_after(
    caps: MailCaps, in_hour: ColumnElement[int], in_day: ColumnElement[int]
) -> ColumnElement[int]:
    return case(
        (in_day >= caps.per_day, literal(max(caps.cooldown_ms, DAY_MS), BigInteger)),
        (in_hour >= caps.per_hour, literal(max(caps.cooldown_ms, HOUR_MS), BigInteger)),
        else_=literal(caps.cooldown_ms, BigInteger),
    )
