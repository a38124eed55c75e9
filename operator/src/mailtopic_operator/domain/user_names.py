"""The names of MailTopics' users in Kafka, and of the Secrets with their passwords."""

import hashlib
import re
from typing import Final

_DIGITS: Final = 10
_OWN: Final = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")


def user_name(prefix: str, namespace: str, name: str, uid: str, rotation: str) -> str:
    """Return the user of a MailTopic: ``<prefix><namespace>.<name>.<digest>``.

    No two MailTopics share one: a namespace has no dots, and the digest covers the uid, so that a
    MailTopic that is created again doesn't get the user of the former one.

    Args:
        prefix: what the names of all users of this operator begin with.
        namespace: the MailTopic's.
        name: the MailTopic's.
        uid: the MailTopic's.
        rotation: any text; another one gives another user.
    """
    digest = hashlib.sha256(f"{uid}/{rotation}".encode()).hexdigest()[:_DIGITS]
    return f"{_stem(prefix, namespace, name)}{digest}"


def is_user_of(user: str, prefix: str, namespace: str, name: str) -> bool:
    """Whether a user's name is one that a MailTopic can have."""
    stem = _stem(prefix, namespace, name)
    return user.startswith(stem) and bool(_OWN.fullmatch(user[len(stem) :]))


def secret_name(name: str) -> str:
    """Return the name of the Secret with the passwords of a MailTopic's users."""
    return f"{name}-kafka"


def password_key(user: str) -> str:
    """Return the key of a user's password in that Secret."""
    return f"password-{user.rpartition('.')[2]}"


def _stem(prefix: str, namespace: str, name: str) -> str:
    return f"{prefix}{namespace}.{name}."
