"""Finds our log lines in the output of `kubectl logs` or in a file. Pure.

A line may come from anywhere: only known details are accepted.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from mailtopic_cli.trace.details import known_details
from mailtopic_cli.trace.story import OUTCOMES, Moment, Source
from mailtopic_contract import signup_tag

MAX_LINE_CHARACTERS = 65_536

_EVENT = re.compile(r"(mail|record)\.([a-z_]{1,32})")
_POD = re.compile(r"\[pod/([a-z0-9.-]{1,253})/[a-z0-9-]{1,63}\]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an id can refer to: a mail, or the mails of a signup or a trace."""

    mail_id: UUID
    signup: str | None = None
    trace_id: str | None = None


def parse_wanted(text: str) -> Wanted | None:
    """Return what an id can refer to; None if it is no id of ours.

    A mail's id is a UUID. Ids of signups and traces are 32 hex digits, and so is a UUID without
    its dashes.
    """
    try:
        mail_id = UUID(text)
    except ValueError:
        return None
    if text.lower() == mail_id.hex:
        return Wanted(mail_id, signup_tag(mail_id.hex), mail_id.hex)
    return Wanted(mail_id) if text.lower() == str(mail_id) else None


def mails_of(lines: Iterable[str], wanted: Wanted) -> frozenset[UUID]:
    """Return the requested mails that the lines mention."""
    found = {wanted.mail_id}
    for line in lines if wanted.signup or wanted.trace_id else ():
        parsed = parse_line(line)
        if parsed is not None:
            details = parsed[1].details
            is_signup = wanted.signup is not None and details.get("signup") == wanted.signup
            is_trace = wanted.trace_id is not None and details.get("trace_id") == wanted.trace_id
            if is_signup or is_trace:
                found.add(parsed[0])
    return frozenset(found)


def moments_of(lines: Iterable[str], mail_ids: frozenset[UUID]) -> dict[UUID, list[Moment]]:
    """Return the events of these mails in the lines."""
    found: dict[UUID, list[Moment]] = {mail_id: [] for mail_id in mail_ids}
    # Text search first: only a few of a million lines match.
    texts = [str(mail_id) for mail_id in mail_ids]
    for line in lines:
        if any(text in line for text in texts):
            parsed = parse_line(line)
            if parsed is not None and parsed[0] in found:
                found[parsed[0]].append(parsed[1])
    return found


def why_silent(lines: Iterable[str]) -> str:
    """Return why the lines contain nothing about a mail."""
    count = 0
    for count, line in enumerate(lines, 1):  # noqa: B007 - used after the loop
        if parse_line(line) is not None:
            return "none of its lines is about it"
    if not count:
        return "it is empty"
    return (
        "it holds no line of a sender or of signup in JSON; text can't be read: have them log "
        "with MAILTOPIC_LOG__FORMAT=json"
    )


def parse_line(line: str) -> tuple[UUID, Moment] | None:
    """Return a line's mail and event; None if it isn't one of ours."""
    begin = line.find("{")
    if begin < 0 or len(line) > MAX_LINE_CHARACTERS:
        return None
    try:
        data = json.loads(line[begin:])
        mail_id = UUID(str(data["id"]))
        at_ms = round(datetime.fromisoformat(data["time"]).timestamp() * 1000)
        event = _EVENT.fullmatch(data["event"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    if event is None:
        return None
    details = known_details(data)
    pod = _POD.search(line[:begin])
    if pod:
        details["pod"] = pod[1]
    name, attempt = event[2], data.get("attempt")
    return mail_id, Moment(
        at_ms,
        Source.LOG,
        name if name in OUTCOMES else name.replace("_", " "),
        attempt if isinstance(attempt, int) else None,
        details,
    )
