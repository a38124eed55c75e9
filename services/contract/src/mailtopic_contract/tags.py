"""What stands in logs for things that logs may not name."""

import hashlib

_DIGITS = 12


def signup_tag(challenge_id: str) -> str:
    """Return what stands for a signup in logs: 12 hex digits of its id's SHA-256.

    Who knows a signup's id may ask for another mail, so the id itself isn't logged. It has 128
    random bits: nobody finds it from the tag.
    """
    return hashlib.sha256(challenge_id.encode()).hexdigest()[:_DIGITS]
