"""An SMTP reply → what it means for the mail, for the relay and for the recipient. Pure."""

from mailtopic_sender.domain.replies.classes import SESSION_PHASES, ReplyClass
from mailtopic_sender.domain.replies.meaning import classify, is_known_to_name_recipient
from mailtopic_sender.domain.replies.rules import ReplyRule, RuleError, parse_rules

__all__ = [
    "SESSION_PHASES",
    "ReplyClass",
    "ReplyRule",
    "RuleError",
    "classify",
    "is_known_to_name_recipient",
    "parse_rules",
]
