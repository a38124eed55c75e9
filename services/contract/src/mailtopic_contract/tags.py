"""Tags that replace sensitive ids in logs."""

import hashlib

_DIGITS = 12


def signup_tag(challenge_id: str) -> str:
    """Return a signup's tag for logs: 12 hex digits of its id's SHA-256.

    A signup's id allows requesting another mail, so the id itself isn't logged. It has 128 random
    bits, so it can't be found from the tag.
    """
    return hashlib.sha256(challenge_id.encode()).hexdigest()[:_DIGITS]
