"""An SMTP reply → what it means for the mail, for the relay and for the recipient. Pure.

The table: RFC 5321 §4.2 (basic codes), RFC 3463 and the IANA registry of enhanced status codes,
and what large providers actually say. The enhanced code decides first, because providers choose
it more carefully than the basic one; the basic code second; the text last.
"""

import re
from enum import StrEnum


class ReplyClass(StrEnum):
    """What a reply, or the lack of one, means. The engine decides by this alone."""

    ACCEPTED = "accepted"
    """The relay took responsibility for the mail."""
    TRANSIENT = "transient"
    """A passing trouble at the relay or behind it."""
    GREYLISTED = "greylisted"
    """Come back in some minutes, with the same sender from the same relay."""
    THROTTLED = "throttled"
    """Too fast: fewer connections, later."""
    MAILBOX_FULL = "mailbox_full"
    """The recipient's mailbox is full."""
    HARD_BOUNCE = "hard_bounce"
    """The recipient doesn't exist, or nobody can reach it through this relay."""
    CONTENT = "content"
    """This message, as it is, will never be taken."""
    REPUTATION = "reputation"
    """The sender's address or host is distrusted; the recipient is not to blame."""
    PROTOCOL = "protocol"
    """Client and relay don't understand each other; a fault of a program."""
    CLOSING = "closing"
    """The relay closed the connection before it took the mail."""
    AUTH = "auth"
    """The relay refuses the login, or wants one."""
    POLICY = "policy"
    """TLS is missing, too old, or its certificate isn't trusted."""
    QUOTA = "quota"
    """The account's allowance at the relay is used up."""
    TRANSPORT = "transport"
    """No session could be opened: DNS, refused, unreachable, timed out."""
    UNKNOWN = "unknown"
    """The final dot was sent and its reply lost: the mail may have been taken."""

    @property
    def blames_relay(self) -> bool:
        """Whether the relay, not the mail, is at fault: the attempt must not count."""
        return self in _BLAMES_RELAY

    @property
    def retryable(self) -> bool:
        """Whether the same mail may succeed later. UNKNOWN isn't here: that is a policy."""
        return self in _RETRYABLE

    @property
    def bounces(self) -> bool:
        """Whether the mail has failed for good because of its recipient or its content."""
        return self in _BOUNCES


_BLAMES_RELAY = frozenset(
    {ReplyClass.AUTH, ReplyClass.POLICY, ReplyClass.TRANSPORT, ReplyClass.QUOTA}
)
_RETRYABLE = _BLAMES_RELAY | {
    ReplyClass.TRANSIENT,
    ReplyClass.GREYLISTED,
    ReplyClass.THROTTLED,
    ReplyClass.MAILBOX_FULL,
    ReplyClass.CLOSING,
}
_BOUNCES = frozenset({ReplyClass.HARD_BOUNCE, ReplyClass.CONTENT})


SESSION_PHASES = frozenset({"connect", "ehlo", "tls", "auth"})
"""Phases in which no mail was offered yet: whatever is refused there, no mail is to blame."""

_LOGIN_CODES = frozenset({530, 534, 535, 538})
_PROTOCOL_CODES = frozenset({500, 501, 502, 503, 504, 555})

# Enhanced codes (without the class digit) of a final refusal, 5.x.y.
_FINAL: dict[str, ReplyClass] = {
    **dict.fromkeys(("1.7", "1.8"), ReplyClass.REPUTATION),  # the sender's address, not the other
    "1.90": ReplyClass.QUOTA,  # Exchange Online: the day's limit of recipients
    "2.2": ReplyClass.MAILBOX_FULL,
    "2.3": ReplyClass.CONTENT,  # too long for this mailbox
    "3.4": ReplyClass.CONTENT,  # too big for this system
    "4.5": ReplyClass.QUOTA,  # Gmail: the day's limit of the sending account
    **dict.fromkeys(("7.3", "7.8", "7.9", "7.14", "7.57", "7.60", "7.139"), ReplyClass.AUTH),
    **dict.fromkeys(("7.10", "7.11"), ReplyClass.POLICY),  # encryption needed
    **dict.fromkeys(
        ("7.2", "7.13", "7.17", "7.18", "7.124", "7.129", "7.133", "7.134", "7.135", "7.136"),
        ReplyClass.HARD_BOUNCE,  # this recipient takes no such mail, or is gone
    ),
}
_FINAL_SUBJECTS: dict[str, ReplyClass] = {
    "1": ReplyClass.HARD_BOUNCE,
    "2": ReplyClass.HARD_BOUNCE,
    "4": ReplyClass.HARD_BOUNCE,
    "5": ReplyClass.PROTOCOL,
    "6": ReplyClass.CONTENT,
    "7": ReplyClass.REPUTATION,
}

# Enhanced codes of a passing refusal, 4.x.y.
_PASSING: dict[str, ReplyClass] = {
    "2.1": ReplyClass.GREYLISTED,  # Gmail: this recipient gets too many at once; the relay is fine
    "2.2": ReplyClass.MAILBOX_FULL,
    "3.2": ReplyClass.CLOSING,
    "4.2": ReplyClass.CLOSING,
    "7.1": ReplyClass.GREYLISTED,
    "7.28": ReplyClass.THROTTLED,
}
_BUSY_DETAILS = range(500, 700)
"""Outlook's 4.7.500 to 4.7.699: server busy, too many connections or messages."""

_QUOTA_TEXT = re.compile(
    r"daily (?:message |user |sending |recipient )*(?:quota|limit)"
    r"|(?:monthly|hourly|sending|message|submission) ?quota"
    r"|(?:maximum|out of|insufficient) credits|credits exceeded"
    r"|limit for message recipients",
    re.IGNORECASE,
)
_THROTTLE_TEXT = re.compile(
    r"throttl|rate.?limit|too (?:many|fast|quick|frequent)|sending rate|unusual rate|at a rate"
    r"|unexpected volume|exceeded the (?:rate|maximum number of conn)|concurrent conn"
    r"|thread limit|slow down|server busy|tss\d\d",
    re.IGNORECASE,
)
_GREY_TEXT = re.compile(r"gr[ae]y.?list|come back (?:later|in)|try(?:ing)? again in", re.IGNORECASE)
_FULL_TEXT = re.compile(
    r"(?:mailbox|inbox|user|recipient|account)[\w' ]{0,24}(?:full|over ?quota|out of storage)"
    r"|over ?quota|quota exceeded|exceeded (?:storage|his|her|its|their|mailbox)"
    r"|insufficient (?:storage|disk)",
    re.IGNORECASE,
)
_NO_USER_TEXT = re.compile(
    r"(?:no such|unknown|invalid|non-?existent|unrecognized) (?:user|recipient|mailbox|address)"
    r"|(?:user|recipient|mailbox|account|address)[\w' ]{0,24}"
    r"(?:unknown|not found|unavailable|disabled|inactive"
    r"|do(?:es|n)?(?:n't| not)? ?(?:have|exist|not exist))"
    r"|doesn't have a [\w.]+ account|not our customer",
    re.IGNORECASE,
)
_RELAY_TEXT = re.compile(
    r"relay(?:ing)? (?:access )?(?:denied|not (?:permitted|allowed))|unable to relay"
    r"|authenticat\w+ (?:is )?required|client (?:was )?not authenticated"
    r"|log ?in (?:first|required)",
    re.IGNORECASE,
)
_TLS_TEXT = re.compile(
    r"starttls|encryption (?:is )?(?:required|needed)|requires tls", re.IGNORECASE
)
_SIZE_TEXT = re.compile(r"(?:message|size)[\w ]{0,24}(?:too (?:big|large)|exceed)", re.IGNORECASE)
_SENDER_TEXT = re.compile(
    r"spam|block(?:ed|list)|blacklist|reputation|spf|dkim|dmarc|dnsbl|rbl|unsolicited|banned",
    re.IGNORECASE,
)

_TEXTS: tuple[tuple[re.Pattern[str], ReplyClass, ReplyClass], ...] = (
    # pattern, class of a passing refusal, class of a final one; the first that matches wins
    (_QUOTA_TEXT, ReplyClass.QUOTA, ReplyClass.QUOTA),
    (_RELAY_TEXT, ReplyClass.AUTH, ReplyClass.AUTH),
    (_GREY_TEXT, ReplyClass.GREYLISTED, ReplyClass.GREYLISTED),
    (_THROTTLE_TEXT, ReplyClass.THROTTLED, ReplyClass.REPUTATION),
    (_FULL_TEXT, ReplyClass.MAILBOX_FULL, ReplyClass.MAILBOX_FULL),
    (_SENDER_TEXT, ReplyClass.TRANSIENT, ReplyClass.REPUTATION),
    (_NO_USER_TEXT, ReplyClass.TRANSIENT, ReplyClass.HARD_BOUNCE),
    (_SIZE_TEXT, ReplyClass.CONTENT, ReplyClass.CONTENT),
)
_SPEAKING = frozenset({ReplyClass.QUOTA, ReplyClass.AUTH})
"""What a text may say against the enhanced code: providers put these under codes of other kinds."""


def classify(
    code: int, enhanced: str | None, phase: str, text: str, *, logged_in: bool = False
) -> ReplyClass:
    """Return what a complete reply means.

    Args:
        code: the basic code, 200 to 599; anything else is PROTOCOL.
        enhanced: e.g. ``4.7.1``; None or an x.0.0 if the reply had none that says anything. Where
            its class digit contradicts the basic code, the basic code's digit counts.
        phase: what was answered: one of SESSION_PHASES, ``mail``, ``rcpt``, ``data`` or ``body``.
        text: the rest of the reply, lines joined by spaces.
        logged_in: whether the session is authenticated; then "relay access denied" is about the
            recipient, while without a login it says that the login is missing.
    """
    if 200 <= code < 400:  # noqa: PLR2004 - RFC 5321 §4.2.1: the digits' meaning
        taken = phase == "body" and code < 300  # noqa: PLR2004
        return ReplyClass.ACCEPTED if taken else ReplyClass.PROTOCOL
    if not 400 <= code < 600:  # noqa: PLR2004
        return ReplyClass.PROTOCOL
    if phase in SESSION_PHASES:
        return _refused_session(code, phase, text)
    found = _refused_mail(code, enhanced, phase, text)
    if found is ReplyClass.HARD_BOUNCE and phase == "mail":
        return ReplyClass.REPUTATION  # the recipient wasn't named yet
    if found is ReplyClass.AUTH and logged_in and code not in _LOGIN_CODES:
        return ReplyClass.REPUTATION if code >= 500 else ReplyClass.TRANSIENT  # noqa: PLR2004
    return found


def _refused_session(code: int, phase: str, text: str) -> ReplyClass:
    if _QUOTA_TEXT.search(text):
        return ReplyClass.QUOTA
    if phase == "tls" and code >= 500:  # noqa: PLR2004
        return ReplyClass.POLICY
    if phase == "auth" and code >= 500:  # noqa: PLR2004
        return ReplyClass.AUTH
    return ReplyClass.TRANSPORT


def _refused_mail(code: int, enhanced: str | None, phase: str, text: str) -> ReplyClass:
    if code in _LOGIN_CODES:
        return ReplyClass.POLICY if _TLS_TEXT.search(text) else ReplyClass.AUTH
    said = _by_text(code, text)
    if code == 421:  # noqa: PLR2004
        return _closing(enhanced, said)
    if said in _SPEAKING:
        return said
    known = (_by_enhanced(code, enhanced, phase, said) if enhanced else None) or _by_basic_code(
        code, said
    )
    return known or said or _by_phase(code, phase)


def _closing(enhanced: str | None, said: ReplyClass | None) -> ReplyClass:
    """421: the connection goes; find out whether because we were too fast."""
    if said in {ReplyClass.QUOTA, ReplyClass.THROTTLED}:
        return said
    is_policy = enhanced is not None and enhanced.partition(".")[2].startswith("7.")
    return ReplyClass.THROTTLED if is_policy else ReplyClass.CLOSING


def _by_enhanced(
    code: int, enhanced: str, phase: str, said: ReplyClass | None
) -> ReplyClass | None:
    _, subject, detail = enhanced.split(".")
    name = f"{subject}.{detail}"
    if subject == "0":
        return None
    if code < 500:  # noqa: PLR2004
        return _passing(name, said)
    if name in {"5.0", "5.1"} and code == 550 and phase == "rcpt":  # noqa: PLR2004
        return ReplyClass.HARD_BOUNCE  # Outlook.com: "550 5.5.0 mailbox unavailable"
    if name == "7.0" and code == 552:  # noqa: PLR2004
        return ReplyClass.CONTENT  # Gmail: "its content presents a potential security issue"
    vague = name in {"7.0", "7.1", "2.0"} or subject == "3"
    if vague and said in {ReplyClass.HARD_BOUNCE, ReplyClass.MAILBOX_FULL, ReplyClass.CONTENT}:
        return said
    return _FINAL.get(name) or _FINAL_SUBJECTS.get(subject)


def _passing(name: str, said: ReplyClass | None) -> ReplyClass:
    """4.x.y; a text that speaks of rates or greylists is more telling than 4.7.0 or 4.3.0."""
    subject, detail = name.split(".")
    if subject == "7" and int(detail) in _BUSY_DETAILS:
        return ReplyClass.THROTTLED
    if said in {ReplyClass.GREYLISTED, ReplyClass.THROTTLED} and name != "2.2":
        return ReplyClass.GREYLISTED if name == "2.1" else said
    return _PASSING.get(name, ReplyClass.TRANSIENT)


def _by_basic_code(code: int, said: ReplyClass | None) -> ReplyClass | None:
    if code in _PROTOCOL_CODES:
        return ReplyClass.PROTOCOL
    if code == 523:  # noqa: PLR2004 - RFC 4954 family: encryption needed
        return ReplyClass.POLICY
    if code in {521, 525, 551, 553, 556}:
        return said or ReplyClass.HARD_BOUNCE
    if code == 552:  # noqa: PLR2004 - "exceeded storage allocation", RFC 5321 §4.2.3
        return said or ReplyClass.MAILBOX_FULL
    return None


def _by_text(code: int, text: str) -> ReplyClass | None:
    for pattern, passing, final in _TEXTS:
        if pattern.search(text):
            return passing if code < 500 else final  # noqa: PLR2004
    return None


def _by_phase(code: int, phase: str) -> ReplyClass:
    """No more than a basic code: judge by the severity and by what was being said."""
    if code < 500:  # noqa: PLR2004
        return ReplyClass.TRANSIENT
    return ReplyClass.HARD_BOUNCE if phase == "rcpt" else ReplyClass.REPUTATION
