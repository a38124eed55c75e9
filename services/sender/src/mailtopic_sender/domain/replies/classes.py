"""The classes of replies, and their consequences for a mail."""

from enum import StrEnum


class ReplyClass(StrEnum):
    """The meaning of a reply, or of its absence. The engine decides by this alone."""

    ACCEPTED = "accepted"
    """The relay took responsibility for the mail."""
    TRANSIENT = "transient"
    """A temporary problem at the relay or behind it."""
    GREYLISTED = "greylisted"
    """Retry in some minutes, with the same sender from the same relay."""
    THROTTLED = "throttled"
    """Too fast: fewer connections, later."""
    MAILBOX_FULL = "mailbox_full"
    """The recipient's mailbox is full."""
    HARD_BOUNCE = "hard_bounce"
    """The recipient doesn't exist, or can't be reached through this relay."""
    PROVIDER_SUPPRESSED = "provider_suppressed"
    """The recipient is on the provider's own suppression list."""
    CONTENT = "content"
    """This message will never be accepted unchanged."""
    SENDER = "sender"
    """The relay refuses our address, domain, host name or plan: an operator has to fix that."""
    REPUTATION = "reputation"
    """The sender's address or host is distrusted; the recipient is not to blame."""
    PROTOCOL = "protocol"
    """A protocol error between client and relay: a bug in one of them."""
    CLOSING = "closing"
    """The relay closed the connection before it accepted the mail."""
    AUTH = "auth"
    """The relay refuses the login, or requires one."""
    BLOCKED = "blocked"
    """The relay refuses sessions from our host, because of its address, name or reputation."""
    POLICY = "policy"
    """TLS is missing, too old, or its certificate isn't trusted."""
    QUOTA = "quota"
    """The account's quota at the relay is used up."""
    TRANSPORT = "transport"
    """No session could be opened: DNS, refused, unreachable, timed out."""
    UNKNOWN = "unknown"
    """The final dot was sent and its reply lost: the mail may have been accepted."""

    @property
    def blames_relay(self) -> bool:
        """Whether the relay, not the mail, is at fault: the attempt must not count."""
        return self in _BLAMES_RELAY

    @property
    def retryable(self) -> bool:
        """Whether the same mail may succeed later. UNKNOWN isn't included: that is a policy."""
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
"""Phases before any mail is offered: a refusal in them is never a mail's fault."""
