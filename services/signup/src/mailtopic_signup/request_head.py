"""A request's head: what is refused before the request is handled."""

from collections.abc import Iterable

from starlette.types import Scope

from mailtopic_signup.problems import ProblemError

_CLOSE = {"Connection": "close"}


def refuse_head(scope: Scope, max_bytes: int) -> ProblemError | None:
    """Return why a request isn't answered; None if it is.

    Content-Length with Transfer-Encoding, or the latter in HTTP/1.0, can smuggle a request past a
    proxy that parses it differently (RFC 9112 §6.1); so the connection is closed as well.
    """
    fields: Iterable[tuple[bytes, bytes]] = scope["headers"]
    length = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    is_chunked = has_length = False
    for name, value in fields:
        length += len(name) + len(value)
        is_chunked = is_chunked or name == b"transfer-encoding"
        has_length = has_length or name == b"content-length"
    if length > max_bytes:
        detail = f"The request's head has more than {max_bytes} bytes."
        return ProblemError(431, "head-too-large", detail, headers=dict(_CLOSE))
    if is_chunked and (has_length or scope.get("http_version") == "1.0"):
        detail = "Say how long the body is in one way: Content-Length or Transfer-Encoding."
        return ProblemError(400, "two-lengths", detail, headers=dict(_CLOSE))
    return None
