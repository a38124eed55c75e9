"""Regular expressions for relays' replies, restricted so that none can run for long. Pure.

Their repetitions are bounded in total, because the text they are applied to comes from outside.
Senders use them; the operator checks those of a MailTopic.
"""

import re

MAX_PATTERN = 200
"""Maximum characters of a pattern."""
MAX_STEPS = 10_000
"""Maximum product of a pattern's repetitions."""
MAX_RULE_TEXT = 1000
"""Characters of a reply that rules examine."""

_COUNT = re.compile(r"\{(\d{1,4})(,(\d{0,4}))?\}")


class PatternError(ValueError):
    """A pattern can't be used; the text continues after the pattern's name, and never quotes it."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return a case-insensitive pattern.

    Raises:
        PatternError: it isn't a regular expression, matches anything, or could run for long.
    """
    if len(pattern) > MAX_PATTERN:
        raise PatternError(f"has more than {MAX_PATTERN} characters")
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError):
        raise PatternError("is not a regular expression") from None
    if compiled.search("") is not None:
        raise PatternError("must not match a text of nothing")
    if _steps(pattern) > MAX_STEPS:
        raise PatternError("repeats too much; write .{0,40} for .*, and repeat no groups")
    return compiled


def _steps(pattern: str) -> int:
    """How many ways a pattern may try from one position; far too many for a repeated group."""
    steps, place, after_group = 1, 0, False
    while place < len(pattern):
        char = pattern[place]
        size, times = _repetition(pattern, place)
        if times:
            steps *= times if times == 2 or not after_group else MAX_STEPS + 1  # noqa: PLR2004
            place += size
            continue
        after_group = char == ")"
        place += _atom_size(pattern, place)
    return steps


def _repetition(pattern: str, place: int) -> tuple[int, int]:
    """Return the length and maximum of a quantifier at this position; (0, 0) if there is none."""
    char = pattern[place]
    if char == "?":
        is_group_syntax = place > 0 and pattern[place - 1] == "("
        return (0, 0) if is_group_syntax else (1, 2)
    if char in "*+":
        return 1, MAX_RULE_TEXT
    count = _COUNT.match(pattern, place)
    if count is None:
        return 0, 0
    most = int(count[3] or MAX_RULE_TEXT) if count[2] else int(count[1])
    return len(count[0]), max(most, 1)


def _atom_size(pattern: str, place: int) -> int:
    char = pattern[place]
    if char == "\\":
        return 2
    if char != "[":
        return 1
    end = place + 1
    end += pattern[end : end + 1] == "^"
    end += pattern[end : end + 1] == "]"
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    return end - place + 1
