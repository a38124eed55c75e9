"""The meaning of enhanced status codes (RFC 3463, the IANA registry, and providers' own)."""

from mailtopic_sender.domain.replies.classes import ReplyClass

LOGIN_CODES = frozenset({530, 534, 535, 538})
PROTOCOL_CODES = frozenset({500, 501, 502, 503, 504, 555})

FINAL: dict[str, ReplyClass] = {
    # RFC 3463 §3.2: 1.7 and 1.8 concern the sender's address, all others of 1.x the recipient's.
    **dict.fromkeys(("1.7", "1.8"), ReplyClass.SENDER),
    **dict.fromkeys(("7.60", "7.750"), ReplyClass.SENDER),  # Exchange: send as, unknown domain
    # Exchange Online: recipients a day; the tenant's and the trial's limits.
    **dict.fromkeys(("1.90", "7.232", "7.233", "7.705"), ReplyClass.QUOTA),
    "4.5": ReplyClass.QUOTA,  # Gmail: the day's limit of the sending account
    "2.2": ReplyClass.MAILBOX_FULL,
    "2.3": ReplyClass.CONTENT,  # too long for this mailbox
    "3.4": ReplyClass.CONTENT,  # too big for this system
    **dict.fromkeys(
        ("7.3", "7.8", "7.9", "7.14", "7.30", "7.57", "7.139"),  # 7.30: Exchange wants OAuth
        ReplyClass.AUTH,
    ),
    **dict.fromkeys(("7.10", "7.11"), ReplyClass.POLICY),  # encryption needed
    **dict.fromkeys(
        ("7.2", "7.13", "7.17", "7.18", "7.124", "7.129", "7.133", "7.134", "7.135", "7.136"),
        ReplyClass.HARD_BOUNCE,  # this recipient accepts no such mail, or is gone
    ),
}
"""Enhanced codes (without the class digit) of a final refusal, 5.x.y."""

FINAL_SUBJECTS: dict[str, ReplyClass] = {
    "1": ReplyClass.HARD_BOUNCE,
    "2": ReplyClass.HARD_BOUNCE,
    "4": ReplyClass.HARD_BOUNCE,
    "5": ReplyClass.PROTOCOL,
    "6": ReplyClass.CONTENT,
    "7": ReplyClass.REPUTATION,
}

PASSING: dict[str, ReplyClass] = {
    "2.1": ReplyClass.GREYLISTED,  # Gmail: this recipient gets too many at once; the relay is fine
    "2.2": ReplyClass.MAILBOX_FULL,
    "3.2": ReplyClass.CLOSING,
    "4.2": ReplyClass.CLOSING,
    "7.1": ReplyClass.GREYLISTED,
    "7.28": ReplyClass.THROTTLED,
}
"""Enhanced codes of a temporary refusal, 4.x.y."""

BUSY_DETAILS = range(500, 700)
"""Outlook's 4.7.500 to 4.7.699: server busy, too many connections or messages."""

NAMES_RECIPIENT = frozenset({"1.1", "1.2", "1.3", "1.6", "1.10", "2.1", "2.2", "7.13", "7.17"})
"""Codes that can only concern the recipient."""
