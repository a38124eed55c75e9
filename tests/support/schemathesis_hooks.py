"""Makes Schemathesis reach what needs knowledge: ids that exist, and keys that weren't used.

Schemathesis loads it as the module that SCHEMATHESIS_HOOKS names.
"""

import uuid
from collections import deque
from typing import Any

import schemathesis

_KEY = "idempotency_key"
_MAX_KEY_LENGTH = 255
_found: dict[str, deque[str]] = {
    "challenge_id": deque(maxlen=50),
    "mail_id": deque(maxlen=50),
}
_calls = 0


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Remember what was made."""
    del context
    if response.status_code == 202 and case.method.upper() == "POST":
        made = response.json()
        for name, key in (("challenge_id", "challenge_id"), ("mail_id", "id")):
            if key in made and made[key] not in _found[name]:
                _found[name].append(made[key])


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Put a real id into every second path, and a fresh key into every valid request.

    A key that came with another request before is refused, which is right and tested elsewhere; the
    schema alone can't express that.
    """
    del context, kwargs
    global _calls  # noqa: PLW0603 - the program's own hooks keep no other state
    _calls += 1
    for name, known in _found.items():
        if name in (case.path_parameters or {}) and known and _calls % 2:
            case.path_parameters[name] = known[_calls % len(known)]
    if isinstance(case.body, dict) and _is_key(case.body.get(_KEY)):
        case.body[_KEY] = uuid.uuid4().hex
    for name in list(case.headers or {}):
        if name.lower() == "idempotency-key" and _is_key(case.headers[name]):
            case.headers[name] = uuid.uuid4().hex


def _is_key(given: object) -> bool:
    return isinstance(given, str) and 1 <= len(given) <= _MAX_KEY_LENGTH
