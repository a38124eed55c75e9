"""Which address may get a mail now, and which code the mail has: one statement each.

So no two requests share a grant. A short code is sent to an address that had none for a day, and
only if the next mail may be sent before the code expires; every other mail has the long code. So
while an address may get no mail, its latest one has a valid code (ADR 0027).
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Executable,
    and_,
    bindparam,
    case,
    literal,
    null,
    or_,
    update,
)

from mailtopic_signup.adapters.sql_bulk import Rows, upsert_into
from mailtopic_signup.adapters.sql_tables import address_limits
from mailtopic_signup.domain.challenge import DAY_MS, HOUR_MS, MailCaps

_limits = address_limits.c
_NEVER = literal(0, BigInteger)
_WISHES = ("last_mail_id", "last_challenge_id", "code_seed", "code_key_id")
FIRST_MAIL = {name: _limits[name].type for name in ("address_key", *_WISHES)} | {
    "now": BigInteger()
}
"""A signup's row: the challenge that the mail would be for, the seed, and the time.

The seed is for addresses without a current code.
"""


def take_first_mails(rows: Rows, caps: MailCaps, *, is_sqlite: bool) -> Executable:
    """Return the statement of signups; it sets ``last_challenge_id`` to the mail's challenge.

    It is the same for addresses that have a row and for those that get one. ``rows`` are of
    FIRST_MAIL.
    """
    now, ttl = rows["now"], _ms(caps.code_ttl_ms)
    pause = _pause_after(caps, literal(1), literal(1))
    is_short = pause <= ttl
    first = {
        "address_key": rows["address_key"],
        "next_mail_at": now + pause,
        **{name: rows[name] for name in _WISHES},
        "failures": literal(0),
        "last_failure_at": literal(0, BigInteger),
        "mails_in_hour": literal(1),
        "mails_in_day": literal(1),
        "last_mail_at": now,
        "asked_at": now,
        "short_for": case((is_short, rows["last_challenge_id"]), else_=null()),
        "short_until": case((is_short, now + ttl), else_=_NEVER),
        "long_until": case((is_short, _NEVER), else_=now + pause + ttl),
    }
    new = upsert_into(address_limits, is_sqlite=is_sqlite)
    new = new.from_select(list(first), rows.select(*first.values()))
    given = new.excluded
    now = given.asked_at
    wishes = {name: given[name] for name in _WISHES}
    is_quiet = and_(_limits.short_until <= now - _ms(DAY_MS), _limits.long_until <= now)
    taken = _taken(caps, now, wishes, may_be_short=is_quiet)
    is_free = _is_free(caps, now)
    changed = {name: case((is_free, value), else_=_limits[name]) for name, value in taken.items()}
    changed["asked_at"] = case((_limits.asked_at < now, now), else_=_limits.asked_at)
    statement: Executable = new.on_conflict_do_update(index_elements=["address_key"], set_=changed)
    return statement


def take_next_mail(caps: MailCaps) -> Executable:
    """Return the statement of a resend: it changes a row if the address may get a mail now.

    It repeats a short code for its own challenge, unless there was another signup since.

    Its parameters: ``wanted_key``, ``begun_at`` (of the challenge), and those of FIRST_MAIL.
    """
    now: BindParameter[int] = bindparam("now", type_=BigInteger)
    wishes: dict[str, ColumnElement[Any]] = {
        name: bindparam(f"new_{name}", type_=_limits[name].type) for name in _WISHES
    }
    is_own = and_(
        _limits.short_for == wishes["last_challenge_id"],
        _limits.asked_at <= bindparam("begun_at", type_=BigInteger),
    )
    is_wanted = _limits.address_key == bindparam("wanted_key")
    taken = _taken(caps, now, wishes, may_be_short=is_own)
    return update(address_limits).where(is_wanted, _is_free(caps, now)).values(taken)


def _is_free(caps: MailCaps, now: ColumnElement[int]) -> ColumnElement[bool]:
    # These rules never set a time so far ahead: a clock was set back since.
    latest_next = now + _ms(caps.cooldown_ms + 2 * DAY_MS)
    return or_(_limits.next_mail_at <= now, _limits.next_mail_at > latest_next)


def _taken(
    caps: MailCaps,
    now: ColumnElement[int],
    wishes: dict[str, ColumnElement[Any]],
    *,
    may_be_short: ColumnElement[bool],
) -> dict[str, ColumnElement[Any]]:
    """Return an address's row as it is after it got a mail."""
    in_hour = _counted(_limits.mails_in_hour, now, HOUR_MS)
    in_day = _counted(_limits.mails_in_day, now, DAY_MS)
    pause, ttl = _pause_after(caps, in_hour, in_day), _ms(caps.code_ttl_ms)
    is_short = and_(may_be_short, pause <= ttl)
    # Valid codes stay valid: a code mailed earlier is as good as one mailed now.
    has_code = and_(
        _limits.code_seed.is_not(None),
        _limits.code_key_id == wishes["code_key_id"],
        or_(_limits.short_until > now, _limits.long_until > now),
    )
    kept = {
        name: case((has_code, _limits[name]), else_=wishes[name])
        for name in ("code_seed", "code_key_id")
    }
    return {
        "next_mail_at": now + pause,
        "last_mail_id": wishes["last_mail_id"],
        "last_challenge_id": wishes["last_challenge_id"],
        "mails_in_hour": in_hour,
        "mails_in_day": in_day,
        "last_mail_at": now,
        "short_for": case((is_short, wishes["last_challenge_id"]), else_=_limits.short_for),
        "short_until": case((is_short, now + ttl), else_=_limits.short_until),
        "long_until": case((is_short, _limits.long_until), else_=now + pause + ttl),
        **kept,
    }


def _counted(
    count: ColumnElement[int], now: ColumnElement[int], span_ms: int
) -> ColumnElement[int]:
    is_over = _limits.last_mail_at <= now - _ms(span_ms)
    return case((is_over, literal(1)), else_=count + 1)


def _pause_after(
    caps: MailCaps, in_hour: ColumnElement[int], in_day: ColumnElement[int]
) -> ColumnElement[int]:
    return case(
        (in_day >= caps.per_day, _ms(max(caps.cooldown_ms, DAY_MS))),
        (in_hour >= caps.per_hour, _ms(max(caps.cooldown_ms, HOUR_MS))),
        else_=_ms(caps.cooldown_ms),
    )


def _ms(span_ms: int) -> ColumnElement[int]:
    return literal(span_ms, BigInteger)
