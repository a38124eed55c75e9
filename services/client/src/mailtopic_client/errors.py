"""Errors of publishing.

The tree::

    PublishError(Exception)
    ├── BrokerUnavailable(ConnectionError)   no answer in time; can be retried
    └── RecordRefused                        this record is refused; don't retry it
"""


class PublishError(Exception):
    """A record was not acknowledged. It may still have been stored."""


class BrokerUnavailable(PublishError, ConnectionError):  # noqa: N818 - it says what is the matter
    """No broker acknowledged in time; the same record may be published again."""


class RecordRefused(PublishError):  # noqa: N818 - it says what is the matter
    """The broker refuses this record for good.

    Attributes:
        reason: a short code: ``too-large``, ``unknown-topic``, ``not-allowed`` or ``invalid``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
