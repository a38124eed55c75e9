"""The errors recorded for mails that failed, and when a failure is final."""

from mailtopic_contract import ErrorInfo
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import DeliveryResult

BUG_ATTEMPTS = 3
"""Attempts for a mail that fails by a bug; then it is dead."""


def is_dead(result: DeliveryResult, attempt: int) -> bool:
    """Whether only a person can help: the cause is not the recipient and doesn't pass by itself."""
    if result.reply_class is ReplyClass.PROTOCOL:
        # Garbage instead of a reply may be temporary; a complete reply would be the same again.
        return result.smtp is not None or attempt >= BUG_ATTEMPTS
    return result.reply_class is ReplyClass.REPUTATION


def poison_error(error: Exception) -> ErrorInfo:
    """Return the error of a record that isn't a valid mail."""
    # The contract's errors never quote their input.
    return ErrorInfo("poison", type(error).__name__, str(error))


def bug_error(error: Exception) -> ErrorInfo:
    """Return the error of a record that failed by a bug."""
    # The text of an unexpected error can hold anything, so only its type is recorded.
    return ErrorInfo("bug", type(error).__name__, "the sender failed on this record; see its log")


def reply_error(result: DeliveryResult) -> ErrorInfo:
    """Return the error of a mail that a relay refused."""
    return ErrorInfo(result.reply_class.value, "Reply", result.detail or result.phase, result.smtp)
