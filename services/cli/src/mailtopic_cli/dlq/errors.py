"""Errors of `mailtopic dlq`. Each is one line for the user, without a traceback.

The tree::

    DlqError(Exception)
    ├── BrokerAway      no broker answers in time; nothing is half done
    ├── TopicMissing    there is no such topic
    ├── AccessDenied    the broker does not allow it
    └── TakenOver       a later replay of the same topic has taken over
"""


class DlqError(Exception):
    """The command can't continue. The text is one line and quotes no record."""


class BrokerAway(DlqError):  # noqa: N818 - it says what is the matter
    """No broker answered in time."""


class TopicMissing(DlqError):  # noqa: N818 - it says what is the matter
    """There is no such topic."""


class AccessDenied(DlqError):  # noqa: N818 - it says what is the matter
    """The broker does not allow it."""


class TakenOver(DlqError):  # noqa: N818 - it says what is the matter
    """A later replay of the same topic has taken over."""
