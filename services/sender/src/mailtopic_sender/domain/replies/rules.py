"""An operator's own rules: a pattern in a reply's text → its class, as data. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailtopic_contract import MAX_RULE_TEXT, PatternError, compile_pattern
from mailtopic_sender.domain.replies.classes import SESSION_PHASES, ReplyClass

MAX_RULES = 200

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
"""The classes a rule may set. Others concern connections, which a text can't decide."""

_KEYS = ("match", "class", "code", "phase")
_IN_SESSION = {ReplyClass.QUOTA, ReplyClass.AUTH}


class RuleError(ValueError):
    """A list of rules can't be used; the text names the entry, and never quotes a pattern."""


@dataclass(frozen=True, slots=True)
class ReplyRule:
    """Sets the class of refusals with this pattern in their text, including the enhanced code.

    Attributes:
        pattern: searched for case-insensitively.
        reply_class: one of CLASSES.
        code: only with this basic code; None for any.
        phase: only in this phase; None for any.
    """

    pattern: re.Pattern[str]
    reply_class: ReplyClass
    code: int | None = None
    phase: str | None = None

    def matches(self, code: int, phase: str, text: str) -> bool:
        """Whether it matches a refusal."""
        if self.code not in {None, code} or self.phase not in {None, phase}:
            return False
        return self.pattern.search(text[:MAX_RULE_TEXT]) is not None


def ruled(
    rules: Sequence[ReplyRule], code: int, enhanced: str | None, phase: str, text: str
) -> ReplyClass | None:
    """Return the class of the first matching rule; None if none matches.

    Before any mail is offered, a class that blames a mail becomes BLOCKED: no session for us.
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
        RuleError: it isn't such a list; names the wrong entry.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
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
    try:
        return compile_pattern(pattern)
    except PatternError as error:
        raise RuleError(f"{entry}: match {error}") from None
