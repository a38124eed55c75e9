"""Administration beside the running service: tokens, and the list of suppressions."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mailtopic_contract import BadAddress, parse_address
from mailtopic_runtime import EXIT_OK, LogSettings, SettingError, SystemClock, configure_logging
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_suppressions import SqlSuppressions, Suppression
from mailtopic_signup.domain.tokens import TokensError, new_token
from mailtopic_signup.ports import DatabaseUnavailable
from mailtopic_signup.settings import MigrateSettings

EXIT_NOTHING_DONE = 1
EXIT_USAGE = 2


def make_token(token_id: str, topics: Sequence[str]) -> int:
    """Write a new token, which is shown only once, and its entry for the tokens file."""
    try:
        token, entry = new_token(token_id, topics)
    except TokensError as error:
        return _complain(str(error), EXIT_USAGE)
    _say(json.dumps({"token": token, "entry": entry.as_json()}, indent=2))
    return EXIT_OK


async def list_suppressions(settings: MigrateSettings, *, as_json: bool) -> int:
    """Write the current suppressions, the newest first; addresses are redacted."""
    database = _database(settings)
    try:
        await database.prepare_once()
        found = await SqlSuppressions(database).list(now_ms=SystemClock().now_ms())
    except DatabaseUnavailable as error:
        return _complain(str(error), EXIT_NOTHING_DONE)
    finally:
        await database.close()
    if not found:
        return _complain("no recipient is suppressed", EXIT_OK)
    for each in found:
        _say(json.dumps(_fields(each), ensure_ascii=False) if as_json else _line(each))
    return EXIT_OK


async def lift_suppression(settings: MigrateSettings, text: str) -> int:
    """Lift an address's suppression; the exit code is 1 if it was not suppressed."""
    try:
        address = parse_address(text)
    except BadAddress as error:
        return _complain(str(error), EXIT_USAGE)
    database = _database(settings)
    try:
        await database.prepare_once()
        was_suppressed = await SqlSuppressions(database).lift(address)
    except DatabaseUnavailable as error:
        return _complain(str(error), EXIT_NOTHING_DONE)
    finally:
        await database.close()
    if not was_suppressed:
        return _complain(f"{address.redacted} is not suppressed", EXIT_NOTHING_DONE)
    _say(f"{address.redacted} gets mails again")
    return EXIT_OK


def _database(settings: MigrateSettings) -> Database:
    """Return the database, which must exist: reading doesn't create one.

    Raises:
        SettingError: it is an SQLite file that doesn't exist.
    """
    # Errors are reported in one line; standard output is for the result.
    configure_logging(LogSettings(level="error"))
    database = Database(settings.database)
    if database.is_sqlite and not Path(database.url.database or "").exists():
        unset = "is unset, and " if settings.database.url is None else ""
        raise SettingError(
            "MAILTOPIC_DATABASE__URL", f"{unset}there is no database {database.url.database}"
        )
    return database


def _fields(found: Suppression) -> dict[str, str | None]:
    return {
        "recipient": found.recipient,
        "reason": found.reason,
        "smtp": found.smtp,
        "bounced_at": _moment(found.bounced_at),
        "bypass_after": _moment(found.bypass_after),
        "until": _moment(found.until),
    }


def _line(found: Suppression) -> str:
    return (
        f"{_moment(found.bounced_at)}  {found.recipient}  {found.reason}"
        f"{f' ({found.smtp})' if found.smtp else ''}  until {_moment(found.until)}"
    )


def _moment(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, tz=UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"mailtopic-signup: {text}\n")
    return code
