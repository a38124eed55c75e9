"""Rules of an operator's own: a pattern in a reply's text → its class, as data. Pure.

A pattern is a regular expression of a small kind: its repetitions are bounded together, so that no
text, which is a stranger's, can make it run for long.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailtopic_sender.domain.replies.classes import SESSION_PHASES, ReplyClass

MAX_RULES = 200
MAX_PATTERN = 200
"""Characters of a pattern."""
MAX_STEPS = 10_000
"""Product of a pattern's repetitions."""
MAX_RULE_TEXT = 1000
"""Characters of a reply that rules look at."""

PHASES = (*sorted(SESSION_PHASES), "mail", "rcpt", "data", "body")
CLASSES = (
    ReplyClass.TRANSIENT,
    ReplyClass.GREYLISTED,
    ReplyClass.THROTTLED,
    ReplyClass.QUOTA,
    ReplyClass.MAILBOX_FULL,
    ReplyClass.HARD_BOUNCE,
    ReplyClass.PROVIDER_SUPPRESSED,
    ReplyClass.CONTENT,
    ReplyClass.SENDER,
    ReplyClass.REPUTATION,
    ReplyClass.AUTH,
)
"""What a rule may say. Others are about connections, and not a text's to decide."""

_KEYS = ("match", "class", "code", "phase")
_IN_SESSION = {ReplyClass.QUOTA, ReplyClass.AUTH}
_COUNT = re.compile(r"\{(\d{1,4})(,(\d{0,4}))?\}")


class RuleError(ValueError):
    """Why a list of rules can't be used; says which entry, and never quotes a pattern."""


@dataclass(frozen=True, slots=True)
class ReplyRule:
    """A refusal whose text, with its enhanced code, has this pattern is of this class.

    Attributes:
        pattern: searched for in any case of letters.
        reply_class: one of CLASSES.
        code: only with this basic code; None for any.
        phase: only in this phase; None for any.
    """

    pattern: re.Pattern[str]
    reply_class: ReplyClass
    code: int | None = None
    phase: str | None = None

    def matches(self, code: int, phase: str, text: str) -> bool:
        """Whether it is about a refusal."""
        if self.code not in {None, code} or self.phase not in {None, phase}:
            return False
        return self.pattern.search(text[:MAX_RULE_TEXT]) is not None


def ruled(
    rules: Sequence[ReplyRule], code: int, enhanced: str | None, phase: str, text: str
) -> ReplyClass | None:
    """Return the class that the first rule which matches gives; None if none does.

    Where no mail was offered yet, what blames a mail is BLOCKED: no session for us.
    """
    said = f"{enhanced} {text}" if enhanced else text
    for rule in rules:
        if rule.matches(code, phase, said):
            if phase in SESSION_PHASES and rule.reply_class not in _IN_SESSION:
                return ReplyClass.BLOCKED
            return rule.reply_class
    return None


def parse_rules(text: str) -> tuple[ReplyRule, ...]:
    """Return the rules of a JSON list; the first that matches wins.

    Raises:
        RuleError: it is no such list; names the entry that is wrong.
    """
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise RuleError("is not valid JSON") from None
    if not isinstance(found, list):
        raise RuleError("must be a JSON list of rules")
    if len(found) > MAX_RULES:
        raise RuleError(f"has more than {MAX_RULES} rules")
    return tuple(_rule(f"entry {number}", item) for number, item in enumerate(found, 1))


def _rule(entry: str, item: object) -> ReplyRule:
    if not isinstance(item, dict):
        raise RuleError(f"{entry} must be an object with match and class")
    for key in item:
        if key not in _KEYS:
            raise RuleError(f"{entry}: only {', '.join(_KEYS)} are known")
    code, phase = item.get("code"), item.get("phase")
    is_code = isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600  # noqa: PLR2004
    if code is not None and not is_code:
        raise RuleError(f"{entry}: code must be a number from 400 to 599")
    if phase is not None and phase not in PHASES:
        raise RuleError(f"{entry}: phase must be one of {', '.join(PHASES)}")
    return ReplyRule(_pattern(entry, item), _class(entry, item), code, phase)


def _class(entry: str, item: Mapping[str, Any]) -> ReplyClass:
    for known in CLASSES:
        if item.get("class") == known.value:
            return known
    raise RuleError(f"{entry}: class must be one of {', '.join(CLASSES)}")


def _pattern(entry: str, item: Mapping[str, Any]) -> re.Pattern[str]:
    pattern = item.get("match")
    if not isinstance(pattern, str) or not pattern:
        raise RuleError(f"{entry}: match must be a regular expression")
    if len(pattern) > MAX_PATTERN:
        raise RuleError(f"{entry}: match has more than {MAX_PATTERN} characters")
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError):
        raise RuleError(f"{entry}: match is not a regular expression") from None
    if compiled.search("") is not None:
        raise RuleError(f"{entry}: match must not match a text of nothing")
    if _steps(pattern) > MAX_STEPS:
        raise RuleError(
            f"{entry}: match repeats too much; write .{{0,40}} for .*, and repeat no groups"
        )
    return compiled


def _steps(pattern: str) -> int:
    """How many ways a pattern may have to try from one place; far too many for a repeated group."""
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
    """Size and most repetitions of a quantifier that stands here; (0, 0) if none does."""
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
