"""The classes of replies, and what becomes of a mail by each."""

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
    """The recipient doesn't exist, or can't be reached through this relay."""
    PROVIDER_SUPPRESSED = "provider_suppressed"
    """The provider keeps the recipient on a list of its own and sends nothing there."""
    CONTENT = "content"
    """This message, as it is, will never be taken."""
    SENDER = "sender"
    """The relay refuses our address, domain, host name or plan: an operator has to mend that."""
    REPUTATION = "reputation"
    """The sender's address or host is distrusted; the recipient is not to blame."""
    PROTOCOL = "protocol"
    """Client and relay don't understand each other; a fault of a program."""
    CLOSING = "closing"
    """The relay closed the connection before it took the mail."""
    AUTH = "auth"
    """The relay refuses the login, or requires one."""
    BLOCKED = "blocked"
    """The relay opens no session for our host, because of its address, name or reputation."""
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
    {
        ReplyClass.AUTH,
        ReplyClass.BLOCKED,
        ReplyClass.POLICY,
        ReplyClass.TRANSPORT,
        ReplyClass.QUOTA,
    }
)
_RETRYABLE = _BLAMES_RELAY | {
    ReplyClass.TRANSIENT,
    ReplyClass.GREYLISTED,
    ReplyClass.THROTTLED,
    ReplyClass.MAILBOX_FULL,
    ReplyClass.CLOSING,
    ReplyClass.SENDER,
}
_BOUNCES = frozenset({ReplyClass.HARD_BOUNCE, ReplyClass.PROVIDER_SUPPRESSED, ReplyClass.CONTENT})


SESSION_PHASES = frozenset({"connect", "ehlo", "tls", "auth"})
"""Phases in which no mail was offered yet: whatever is refused there, no mail is to blame."""
