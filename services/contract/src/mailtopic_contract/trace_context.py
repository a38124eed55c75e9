"""W3C Trace Context of mails, parsed from untrusted headers.

Any producer of a record or sender of a request may put anything into these headers. Only short
ASCII by the recommendation's grammar is accepted; everything else is treated as absent.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_TRACEPARENT_CHARS = 55
_LONGEST_TRACEPARENT_CHARS = 256
"""A later version may append fields (§3.2.4); none has so far."""

MAX_TRACESTATE_CHARS = 512
"""The length that should be forwarded at least (§3.3.1.5); a longer one is left out."""

_MAX_TRACESTATE_MEMBERS = 32
_VERSIONED = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NAME = r"[a-z0-9][a-z0-9_\-*/]{0,255}(?:@[a-z0-9_\-*/]{1,14})?"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(rf"[ \t]*(?:{_NAME}={_VALUE}[ \t]*)?")


class TraceContext(NamedTuple):
    """The trace that something belongs to.

    Attributes:
        traceparent: version 00, valid: ``00-<trace id>-<span id>-<flags>``.
        tracestate: tracing systems' own data about it, valid; None if there is none.
    """

    traceparent: str
    tracestate: str | None = None


def read_trace_context(
    traceparents: Sequence[str], tracestates: Sequence[str] = ()
) -> TraceContext | None:
    """Return the context from the two headers' values; None if it isn't valid.

    A second traceparent makes it invalid (§4.3); several tracestates are one list (§3.3.1).
    """
    traceparent = valid_traceparent(traceparents[0]) if len(traceparents) == 1 else None
    if traceparent is None:
        return None
    return TraceContext(traceparent, valid_tracestate(",".join(tracestates)))


def valid_traceparent(text: str) -> str | None:
    """Return a traceparent in the form of version 00, or None (§3.2, §3.2.4)."""
    if len(text) > _LONGEST_TRACEPARENT_CHARS:
        return None
    found = _VERSIONED.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    if version == "00":
        return None if more else text
    # Of a later version only these fields, and of its flags only `sampled`, are understood.
    return f"00-{trace_id}-{span_id}-0{int(flags, 16) & 1}"


def valid_tracestate(text: str) -> str | None:
    """Return a tracestate unchanged, or None if it is empty, too long or not valid (§3.3)."""
    if not text or len(text) > MAX_TRACESTATE_CHARS or not text.isascii():
        return None
    members = text.split(",")
    if len(members) > _MAX_TRACESTATE_MEMBERS:
        return None
    names = [member.partition("=")[0].strip() for member in members if member.strip()]
    if not names or len(names) != len(set(names)):
        return None
    return text if all(_MEMBER.fullmatch(member) for member in members) else None
