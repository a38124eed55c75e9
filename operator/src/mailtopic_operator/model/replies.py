"""The meaning of relays' replies that the senders' own table doesn't cover."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from mailtopic_operator.model.base import Model, checked, rule


class ReplyClass(StrEnum):
    """The class that a rule may give a refusal."""

    TRANSIENT = "transient"
    GREYLISTED = "greylisted"
    THROTTLED = "throttled"
    QUOTA = "quota"
    MAILBOX_FULL = "mailbox_full"
    HARD_BOUNCE = "hard_bounce"
    PROVIDER_SUPPRESSED = "provider_suppressed"
    CONTENT = "content"
    SENDER = "sender"
    REPUTATION = "reputation"
    AUTH = "auth"


class Phase(StrEnum):
    """What a relay refused."""

    CONNECT = "connect"
    EHLO = "ehlo"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"


Code = Annotated[
    int,
    Field(
        ge=400,
        le=599,
        json_schema_extra=checked(
            rule("self >= 400 && self <= 599", "write a basic reply code from 400 to 599")
        ),
    ),
]


class ReplyRule(Model):
    """A refusal with a text that matches this pattern has this class."""

    match: Annotated[str, Field(min_length=1, max_length=200)]
    """A Python regular expression, searched for case-insensitively in the enhanced code and the
    text. One .*, or some .{0,40}, and no repeated group; otherwise the senders stay unchanged
    (InvalidReplyRule).
    """

    class_: Annotated[ReplyClass, Field(alias="class")]
    """What the refusal means."""

    code: Code | None = None
    """Only refusals with this basic reply code, such as 550."""

    phase: Phase | None = None
    """Only refusals of this."""


class Replies(Model):
    """The meaning of relays' replies."""

    rules: Annotated[
        tuple[ReplyRule, ...],
        Field(max_length=200, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = ()
    """Your own rules; the first that matches a refusal takes precedence over the senders' own
    table. A change rolls the senders.
    """
