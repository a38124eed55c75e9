"""Which address may get a mail now: one statement each, so that no two requests share a grant."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Executable,
    Table,
    bindparam,
    case,
    or_,
    update,
)

from mailtopic_signup.adapters.sql_tables import address_limits
from mailtopic_signup.domain.challenge import DAY_MS, HOUR_MS, MailCaps

Upsert = Callable[[Table], Any]


def _number(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)


_limits = address_limits.c
# A time so far ahead was never set by these rules: a clock was set back since.
_IS_FREE = or_(
    _limits.next_mail_at <= _number("now"), _limits.next_mail_at > _number("latest_next")
)
_HOUR = case((_limits.last_mail_at <= _number("hour_ago"), 1), else_=_limits.mails_in_hour + 1)
_DAY = case((_limits.last_mail_at <= _number("day_ago"), 1), else_=_limits.mails_in_day + 1)
_NEXT = case(
    (_number("per_day") <= _DAY, _number("after_day")),
    (_number("per_hour") <= _HOUR, _number("after_hour")),
    else_=_number("after_cooldown"),
)
_TAKEN: dict[str, ColumnElement[Any]] = {
    "next_mail_at": _NEXT,
    "last_mail_id": bindparam("mail_id", type_=_limits.last_mail_id.type),
    "last_challenge_id": bindparam("challenge_id", type_=_limits.last_challenge_id.type),
    "mails_in_hour": _HOUR,
    "mails_in_day": _DAY,
    "last_mail_at": _number("now"),
}


def mail_caps_values(caps: MailCaps, now_ms: int) -> dict[str, object]:
    """Return the statements' parameters that depend on the caps and the time."""
    return {
        "now": now_ms,
        "hour_ago": now_ms - HOUR_MS,
        "day_ago": now_ms - DAY_MS,
        "per_hour": caps.per_hour,
        "per_day": caps.per_day,
        "after_cooldown": now_ms + caps.cooldown_ms,
        "after_hour": now_ms + max(caps.cooldown_ms, HOUR_MS),
        "after_day": now_ms + max(caps.cooldown_ms, DAY_MS),
        "latest_next": now_ms + caps.cooldown_ms + 2 * DAY_MS,
    }


def take_first_mail(upsert: Upsert) -> Executable:
    """Return the statement of a signup: it returns whose challenge the latest mail is.

    It is the same for addresses that have a row and for those that get one.
    """
    new = upsert(address_limits).values(
        address_key=bindparam("address_key"),
        next_mail_at=case(
            (_number("per_day") <= 1, _number("after_day")),
            (_number("per_hour") <= 1, _number("after_hour")),
            else_=_number("after_cooldown"),
        ),
        last_mail_id=bindparam("mail_id", type_=_limits.last_mail_id.type),
        last_challenge_id=bindparam("challenge_id", type_=_limits.last_challenge_id.type),
        failures=0,
        last_failure_at=0,
        mails_in_hour=1,
        mails_in_day=1,
        last_mail_at=_number("now"),
        asked_at=_number("now"),
    )
    taken = {name: case((_IS_FREE, value), else_=_limits[name]) for name, value in _TAKEN.items()}
    asked = case((_limits.asked_at < _number("now"), _number("now")), else_=_limits.asked_at)
    statement: Executable = new.on_conflict_do_update(
        index_elements=["address_key"], set_=taken | {"asked_at": asked}
    ).returning(_limits.last_challenge_id)
    return statement


TAKE_NEXT_MAIL: Executable = (
    update(address_limits)
    .where(_limits.address_key == bindparam("wanted_key"), _IS_FREE)
    .values(_TAKEN)
)
"""The statement of a resend: it changes a row if the address may get a mail now."""
