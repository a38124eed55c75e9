"""Custom reply rules for senders: a file, from an annotation of their pods."""

import json
from typing import Any, Final

from mailtopic_contract import PatternError, compile_pattern
from mailtopic_operator.domain.desired import Desired

DIRECTORY: Final = "/etc/mailtopic/replies"
RULES_FILE: Final = f"{DIRECTORY}/rules.json"
VOLUME: Final = "replies"
_ANNOTATION: Final = "mailtopic.dev/reply-rules"


def rules_problem(desired: Desired) -> str | None:
    """Return what is wrong with a pattern, in words; None if senders can use all of them.

    Admission can't check this: its regular expressions are another dialect.
    """
    for number, rule in enumerate(desired.spec.replies.rules):
        try:
            compile_pattern(rule.match)
        except PatternError as error:
            return f"replies.rules[{number}].match {error}"
    return None


def rules_annotation(desired: Desired) -> dict[str, str]:
    """Return the annotation with the rules, if any, in MAILTOPIC_REPLIES__RULES_FILE's format."""
    rules = [rule.to_object() for rule in desired.spec.replies.rules]
    return {_ANNOTATION: json.dumps(rules, ensure_ascii=False)} if rules else {}


def rules_volume(desired: Desired) -> dict[str, Any] | None:
    """Return the volume with the annotation as a file; None without rules."""
    if not desired.spec.replies.rules:
        return None
    field = {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{_ANNOTATION}']"}
    items = [{"path": "rules.json", "fieldRef": field}]
    return {"name": VOLUME, "downwardAPI": {"defaultMode": 0o440, "items": items}}
