"""What is written down about a mail that failed, and when it has failed for good."""

from mailtopic_contract import ErrorInfo
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import DeliveryResult

BUG_ATTEMPTS = 3
"""A mail on which this program fails is tried so often, then it is dead."""


def is_dead(result: DeliveryResult, attempt: int) -> bool:
    """Whether only a person can help, because neither the recipient nor time is to blame."""
    if result.reply_class is ReplyClass.PROTOCOL:
        # Garbage instead of a reply may be a passing trouble; a whole reply will come again.
        return result.smtp is not None or attempt >= BUG_ATTEMPTS
    return result.reply_class is ReplyClass.REPUTATION


def poison_error(error: Exception) -> ErrorInfo:
    """Return the error of a record that can't be a mail."""
    # The contract's errors never quote what they were given.
    return ErrorInfo("poison", type(error).__name__, str(error))


def bug_error(error: Exception) -> ErrorInfo:
    """Return the error of a record on which this program failed."""
    # The text of an unforeseen error can hold anything, so only its type is given.
    return ErrorInfo("bug", type(error).__name__, "the sender failed on this record; see its log")


def reply_error(result: DeliveryResult) -> ErrorInfo:
    """Return the error of a mail that a relay refused."""
    return ErrorInfo(result.reply_class.value, "Reply", result.detail or result.phase, result.smtp)
