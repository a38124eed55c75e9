"""What a request can be refused for.

The tree::

    SignupError(Exception)
    ├── BadField           a field's value isn't acceptable; names the field, quotes nothing
    ├── KeyReused          the idempotency key belongs to another request
    ├── UnknownChallenge   no challenge has this id
    ├── AlreadyVerified    the challenge has been used
    ├── ChallengeExpired   it has expired ├── ChallengeLocked    no try is left ├── NewCodeNeeded
    the challenge may try no code of another challenge any more ├── WrongCode          the code
    isn't the challenge's ├── TooSoon            the address had a mail a moment ago ├──
    TooManyRequests    the client has asked for too much ├── KeyInFlight        the request with the
    same idempotency key isn't answered yet ├── NotAuthenticated   the request shows no valid
    service token ├── TopicNotAllowed    the service token isn't for this topic └── UnknownMail
    no mail of the token's topics has this id
"""


class SignupError(Exception):
    """A request that is refused, for a reason that is shown to the client."""


class BadField(SignupError):  # noqa: N818 - the errors here are named for what the caller did
    """A field's value is not acceptable."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class KeyReused(SignupError):  # noqa: N818
    """The idempotency key was used with another request before."""


class UnknownChallenge(SignupError):  # noqa: N818
    """No challenge has this id, or it was purged."""


class AlreadyVerified(SignupError):  # noqa: N818
    """A code works once."""


class ChallengeExpired(SignupError):  # noqa: N818
    """The code, or the whole challenge, has expired."""


class ChallengeLocked(SignupError):  # noqa: N818
    """No try is left; a new challenge has new ones."""


class NewCodeNeeded(SignupError):  # noqa: N818
    """The challenge got no short code, and the tries shared by such challenges are used up.

    The code wasn't checked. A resend mails a code that works.

    Attributes:
        retry_after_s: when a resend may be asked for.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("a code of its own is needed")
        self.retry_after_s = retry_after_s


class WrongCode(SignupError):  # noqa: N818
    """The code isn't the challenge's; the try was counted."""

    def __init__(self, tries_left: int) -> None:
        super().__init__("the code is wrong")
        self.tries_left = tries_left


class TooSoon(SignupError):  # noqa: N818
    """The next mail may be sent in ``retry_after_s`` seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("the address had a mail a moment ago")
        self.retry_after_s = retry_after_s


class TooManyRequests(SignupError):  # noqa: N818
    """The client may try again in ``retry_after_s`` seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("the client has asked for too much")
        self.retry_after_s = retry_after_s


class KeyInFlight(SignupError):  # noqa: N818
    """The first request with this idempotency key is still being handled."""


class NotAuthenticated(SignupError):  # noqa: N818
    """The request has no valid service token.

    Attributes:
        shows_token: whether it has one at all.
    """

    def __init__(self, *, shows_token: bool) -> None:
        super().__init__("no valid service token")
        self.shows_token = shows_token


class TopicNotAllowed(SignupError):  # noqa: N818
    """The service token isn't for this topic; whether the topic exists isn't revealed."""


class UnknownMail(SignupError):  # noqa: N818
    """No mail of the token's topics has this id, or it was purged."""
