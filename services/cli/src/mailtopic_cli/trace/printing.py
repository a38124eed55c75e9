"""Stories on a terminal, and as JSON."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from mailtopic_cli.trace.story import Moment, Story, verdict

_FIRST = ("relay", "smtp", "reply", "tier", "reason", "place")
_STAGES = {"queue_ms": "queued", "wait_ms": "waited", "connect_ms": "connecting"}
_STAGES |= {"transmit_ms": "transmitting"}


def lines_of(story: Story, *, now_ms: int) -> Iterator[str]:
    """Yield a story as lines of text."""
    yield f"Mail {story.mail_id}" + (f" of {story.topic}" if story.topic else "")
    about = [(name, story.detail(name)) for name in ("signup", "recipient", "trace_id")]
    told = [f"{name.replace('_id', '')} {value}" for name, value in about if value]
    if told:
        yield "  " + ", ".join(told)
    first_ms = story.moments[0].at_ms if story.moments else 0
    for moment in story.moments:
        yield f"  {time_text(moment.at_ms)}  {_after(moment.at_ms - first_ms)}  {_line(moment)}"
    yield from verdict(story, now_ms=now_ms)


def _mail(story: Story) -> dict[str, Any]:
    """Return a story as a JSON object: times are ISO 8601 in UTC, durations name their unit."""
    last = story.last
    return {
        "id": str(story.mail_id),
        "topic": story.topic,
        "outcome": last.event if last else None,
        "final": story.is_final,
        "attempts": story.attempts,
        "seconds": story.seconds,
        "accepted_at": _time_or_none(story.accepted_at_ms),
        "expires_at": _time_or_none(story.expires_at_ms),
        "signup": story.detail("signup"),
        "recipient": story.detail("recipient"),
        "trace_id": story.detail("trace_id"),
        "events": [_event(moment) for moment in story.moments],
    }


def document(stories: Sequence[Story]) -> str:
    """Return the document that `--json` prints."""
    return json.dumps({"mails": [_mail(story) for story in stories]}, indent=2)


def time_text(at_ms: int) -> str:
    """Format a time: ISO 8601, UTC, milliseconds."""
    text = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _time_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else time_text(at_ms)


def _after(elapsed_ms: int) -> str:
    return f"+{elapsed_ms / 1000:.3f}s".rjust(10) if elapsed_ms else " " * 10


def _line(moment: Moment) -> str:
    attempt = f"attempt {moment.attempt}: " if moment.attempt is not None else ""
    details = dict(moment.details)
    if details.get("reply") == moment.event:
        del details["reply"]
    if "tier" in details:
        details["tier"] = f"tier {details['tier']}"
    told = [f"{details[name]}" for name in _FIRST if name in details]
    if "offset" in details:
        told.append(f"partition {details.get('partition')}, offset {details['offset']}")
    due_ms = details.pop("not_before_ms", None)
    if due_ms is not None:
        told.append(f"due {time_text(int(due_ms))}")
    stages = [
        f"{words} {details[name]:g} ms" for name, words in _STAGES.items() if details.get(name)
    ]
    pod = f"  [{details['pod']}]" if "pod" in details else ""
    text = ", ".join([f"{attempt}{moment.words}", *told])
    return text + (f" ({', '.join(stages)})" if stages else "") + pod


def _event(moment: Moment) -> dict[str, Any]:
    details = dict(moment.details)
    due_ms = details.pop("not_before_ms", None)
    return {
        "at": time_text(moment.at_ms),
        "source": moment.source.name.lower(),
        "event": moment.event,
        "attempt": moment.attempt,
        **({"not_before": time_text(int(due_ms))} if due_ms is not None else {}),
        **details,
    }
