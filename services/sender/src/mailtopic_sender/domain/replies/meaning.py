"""One reply's class: by the enhanced code, the basic code and the text.

Based on RFC 5321 §4.2 (basic codes), RFC 3463 and the IANA registry of enhanced status codes, and
the actual replies of large providers. The enhanced code takes precedence over the basic one,
because providers choose it with more care, and both over the text; except for statements about the
sender's side and rates: providers use codes of any kind for these.
"""

import re
from collections.abc import Sequence

from mailtopic_sender.domain.replies.classes import SESSION_PHASES, ReplyClass
from mailtopic_sender.domain.replies.codes import (
    BUSY_DETAILS,
    FINAL,
    FINAL_SUBJECTS,
    LOGIN_CODES,
    NAMES_RECIPIENT,
    PASSING,
    PROTOCOL_CODES,
)
from mailtopic_sender.domain.replies.rules import ReplyRule, ruled
from mailtopic_sender.domain.replies.wording import (
    meanings,
    names_recipient,
    refuses_host,
    speaks_of_greylist,
    speaks_of_sender,
    wants_tls,
    words_of,
)

_FINAL_CODE = 500

_SPEAKING = frozenset(
    {
        ReplyClass.QUOTA,
        ReplyClass.AUTH,
        ReplyClass.SENDER,
        ReplyClass.PROVIDER_SUPPRESSED,
    }
)
"""Classes in which the text overrides the codes."""

_OURS = frozenset({ReplyClass.AUTH, ReplyClass.SENDER})

_UNEXPLAINED = {"mail": ReplyClass.SENDER, "rcpt": ReplyClass.HARD_BOUNCE}
"""A final refusal without a reason concerns the argument just sent."""

_VAGUE = frozenset({"7.0", "7.1", "2.0", "1.0"})
_IN_TEXT = re.compile(r"(?<![\w.])#?([245]\.\d{1,3}\.\d{1,3})(?![\w.]\d|\w)")


def classify(
    code: int,
    enhanced: str | None,
    phase: str,
    text: str,
    *,
    logged_in: bool = False,
    rules: Sequence[ReplyRule] = (),
) -> ReplyClass:
    """Return what a complete reply means.

    Args:
        code: the basic code, 200 to 599; anything else is PROTOCOL.
        enhanced: e.g. ``4.7.1``; None or an x.0.0 if the reply had no meaningful one: then one in
            the text counts. If its class digit contradicts the basic code, the basic code's digit
            counts.
        phase: the phase: one of SESSION_PHASES, ``mail``, ``rcpt``, ``data`` or ``body``.
        text: the rest of the reply, lines joined by spaces.
        logged_in: whether the session is authenticated; without a login "relay access denied" means
            that the login is missing, with one that the account may not send this mail.
        rules: an operator's own; the first that matches a refusal decides, regardless of all else.
    """
    if not 400 <= code < 600:  # noqa: PLR2004 - RFC 5321 §4.2.1: the digits' meaning
        taken = phase == "body" and 200 <= code < 300  # noqa: PLR2004
        return ReplyClass.ACCEPTED if taken else ReplyClass.PROTOCOL
    own = ruled(rules, code, enhanced, phase, text)
    if own is not None:
        return own
    words = words_of(text)
    if phase in SESSION_PHASES:
        return _refused_session(code, phase, words)
    if enhanced is None or enhanced.endswith(".0.0"):
        found_code = _IN_TEXT.search(text)
        enhanced = found_code[1] if found_code else enhanced
    found = _refused_mail(code, enhanced, phase, words)
    if found is ReplyClass.HARD_BOUNCE and phase == "mail":
        return ReplyClass.SENDER  # before RCPT
    if found is ReplyClass.AUTH and logged_in and code not in LOGIN_CODES:
        return ReplyClass.SENDER if code >= _FINAL_CODE else ReplyClass.TRANSIENT
    return found


def is_known_to_name_recipient(smtp: str | None, text: str) -> bool:
    """Whether code or text of a refusal are known, and concern only the recipient.

    Args:
        smtp: basic and enhanced code, e.g. ``550 5.1.1``.
        text: the reply's text, or its quote.
    """
    enhanced = (smtp or "").partition(" ")[2]
    return enhanced.partition(".")[2] in NAMES_RECIPIENT or names_recipient(words_of(text))


def _refused_session(code: int, phase: str, words: str) -> ReplyClass:
    is_final = code >= _FINAL_CODE
    said = next(iter(meanings(words, is_final=is_final)), None)
    if said is ReplyClass.QUOTA or (said is ReplyClass.THROTTLED and is_final):
        return ReplyClass.QUOTA
    if not is_final:
        return ReplyClass.TRANSPORT
    if phase == "tls":
        return ReplyClass.POLICY
    if phase == "auth":
        return ReplyClass.AUTH
    return ReplyClass.BLOCKED if refuses_host(words) else ReplyClass.TRANSPORT


def _refused_mail(code: int, enhanced: str | None, phase: str, words: str) -> ReplyClass:
    name = enhanced.partition(".")[2] if enhanced else ""
    said = _said(code, name, words)
    if code in LOGIN_CODES and said is not ReplyClass.QUOTA:
        return ReplyClass.POLICY if wants_tls(words) else ReplyClass.AUTH
    if code == 421:  # noqa: PLR2004
        return _closing(name, said, words)
    if said in _SPEAKING or (said is ReplyClass.THROTTLED and code >= _FINAL_CODE):
        return said
    known = (_by_enhanced(code, name, phase, said) if name else None) or _by_basic_code(code, said)
    return known or said or _by_phase(code, phase)


def _said(code: int, name: str, words: str) -> ReplyClass | None:
    """Return the text's meaning, unless it contradicts a code that concerns only the recipient."""
    for said in meanings(words, is_final=code >= _FINAL_CODE):
        if said in _OURS and FINAL.get(name) is ReplyClass.HARD_BOUNCE:
            continue
        if (
            said is ReplyClass.SENDER
            and name in NAMES_RECIPIENT
            and names_recipient(words)
            and not speaks_of_sender(words)
        ):
            continue
        return said
    return None


def _closing(name: str, said: ReplyClass | None, words: str) -> ReplyClass:
    """421: the connection closes; find out whether we were too fast."""
    if said in {ReplyClass.QUOTA, ReplyClass.THROTTLED, ReplyClass.SENDER}:
        return said
    if said is ReplyClass.GREYLISTED and speaks_of_greylist(words):
        return said
    return ReplyClass.THROTTLED if name.startswith("7.") else ReplyClass.CLOSING


def _by_enhanced(code: int, name: str, phase: str, said: ReplyClass | None) -> ReplyClass | None:
    subject = name.partition(".")[0]
    if subject == "0":
        return None
    if code < _FINAL_CODE:
        return _passing(name, said)
    if name in {"5.0", "5.1"} and code == 550 and phase == "rcpt":  # noqa: PLR2004
        return ReplyClass.HARD_BOUNCE  # Outlook.com: "550 5.5.0 mailbox unavailable"
    if name == "7.0" and code == 552:  # noqa: PLR2004
        return ReplyClass.CONTENT  # Gmail: "its content presents a potential security issue"
    vague = name in _VAGUE or subject == "3"
    telling = said is not None and (said.bounces or said is ReplyClass.MAILBOX_FULL)
    if (vague and telling) or said is ReplyClass.GREYLISTED:
        return said
    return FINAL.get(name) or FINAL_SUBJECTS.get(subject)


def _passing(name: str, said: ReplyClass | None) -> ReplyClass:
    """4.x.y; a text about rates or greylists is more specific than 4.7.0 or 4.3.0."""
    subject, _, detail = name.partition(".")
    if subject == "7" and int(detail) in BUSY_DETAILS:
        return ReplyClass.THROTTLED
    if said in {ReplyClass.GREYLISTED, ReplyClass.THROTTLED} and name != "2.2":
        return ReplyClass.GREYLISTED if name == "2.1" else said
    return PASSING.get(name, ReplyClass.TRANSIENT)


def _by_basic_code(code: int, said: ReplyClass | None) -> ReplyClass | None:
    if code in PROTOCOL_CODES:
        return ReplyClass.PROTOCOL
    if code == 523:  # noqa: PLR2004 - RFC 4954 family: encryption needed
        return ReplyClass.POLICY
    if code in {521, 525, 551, 553, 556}:
        return said or ReplyClass.HARD_BOUNCE
    if code == 552:  # noqa: PLR2004 - "exceeded storage allocation", RFC 5321 §4.2.3
        return said or ReplyClass.MAILBOX_FULL
    return None


def _by_phase(code: int, phase: str) -> ReplyClass:
    """Only a basic code: judge by the severity and the phase."""
    if code < _FINAL_CODE:
        return ReplyClass.TRANSIENT
    return _UNEXPLAINED.get(phase, ReplyClass.REPUTATION)
