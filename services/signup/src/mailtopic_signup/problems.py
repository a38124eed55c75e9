"""Errors as RFC 9457 problem details. None of them quotes what was sent."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from mailtopic_signup.errors import (
    AlreadyVerified,
    BadField,
    ChallengeExpired,
    ChallengeLocked,
    KeyInFlight,
    KeyReused,
    NewCodeNeeded,
    NotAuthenticated,
    SignupError,
    TooManyRequests,
    TooSoon,
    TopicNotAllowed,
    UnknownChallenge,
    UnknownMail,
    WrongCode,
)
from mailtopic_signup.ports import DatabaseUnavailable
from mailtopic_signup.schemas import FieldError, Problem

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:mailtopic:problem:"
_RETRY_AFTER_S = 5
_CHALLENGE = 'Bearer realm="mailtopic"'


@dataclass(slots=True)
class ProblemError(Exception):
    """A problem, raised where it is found. Its type is a URN that ends in ``slug``."""

    status: int
    slug: str
    detail: str
    errors: Sequence[FieldError] = ()
    headers: dict[str, str] = field(default_factory=dict)
    tries_left: int | None = None


def problem_body(problem: ProblemError, request_id: str | None) -> bytes:
    """Return a problem as JSON."""
    body = Problem(
        type=f"{_TYPE}{problem.slug}",
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        instance=f"urn:mailtopic:request:{request_id}" if request_id else None,
        errors=list(problem.errors) or None,
        tries_left=problem.tries_left,
    )
    return body.model_dump_json(exclude_none=True).encode()


def problem_response(problem: ProblemError, request_id: str | None) -> Response:
    """Return a problem as an answer."""
    return Response(
        problem_body(problem, request_id),
        status_code=problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def internal_problem() -> ProblemError:
    """Return the problem without any detail."""
    return ProblemError(500, "internal", "Something went wrong here; try again later.")


async def answer_problem(request: Request, error: Exception) -> Response:
    """Answer any error that has a problem of its own; registered for each of their classes."""
    return problem_response(_problem_of(error), getattr(request.state, "request_id", None))


HANDLED: tuple[type[Exception], ...] = (
    ProblemError,
    SignupError,
    RequestValidationError,
    HTTPException,
    DatabaseUnavailable,
)


def _problem_of(error: Exception) -> ProblemError:
    match error:
        case ProblemError():
            return error
        case SignupError():
            return _refusal(error)
        case RequestValidationError():
            return _validation(error)
        case DatabaseUnavailable():
            return ProblemError(
                503,
                "unavailable",
                "The service can't store anything just now; try again in a moment.",
                headers={"Retry-After": str(_RETRY_AFTER_S)},
            )
        case HTTPException():
            return _http(error)
        case _:
            return internal_problem()


def _refusal(error: SignupError) -> ProblemError:  # noqa: PLR0911, PLR0912, C901 - one line an error
    match error:
        case BadField():
            return bad_field(error.field, error.message)
        case KeyReused():
            return bad_field("Idempotency-Key", "was used with another request before")
        case UnknownChallenge():
            detail = "There is no such signup; it may have been removed."
            return ProblemError(404, "unknown-challenge", detail, _at("challenge_id", detail))
        case AlreadyVerified():
            return ProblemError(409, "already-verified", "This signup is verified already.")
        case ChallengeExpired():
            return ProblemError(410, "expired", "The code has expired; ask for a new one.")
        case WrongCode(tries_left=left):
            detail = "The code is wrong."
            return ProblemError(422, "wrong-code", detail, _at("code", detail), tries_left=left)
        case ChallengeLocked():
            return ProblemError(429, "locked", "There were too many wrong codes; start again.")
        case NewCodeNeeded(retry_after_s=wait_s):
            detail = "This signup needs a code of its own: ask for one to be sent."
            return ProblemError(429, "new-code-needed", detail, headers=_retry_after(wait_s))
        case TooSoon(retry_after_s=wait_s):
            detail = "A mail was sent a moment ago; wait before asking for another one."
            return ProblemError(429, "too-soon", detail, headers=_retry_after(wait_s))
        case TooManyRequests(retry_after_s=wait_s):
            detail = "There were too many requests from here; wait before the next one."
            return ProblemError(429, "too-many-requests", detail, headers=_retry_after(wait_s))
        case KeyInFlight():
            detail = "The first request with this Idempotency-Key isn't answered yet."
            return ProblemError(409, "in-flight", detail, headers=_retry_after(1))
        case NotAuthenticated() | TopicNotAllowed() | UnknownMail():
            return _refused_service(error)
        case _:
            return internal_problem()


def _refused_service(error: NotAuthenticated | TopicNotAllowed | UnknownMail) -> ProblemError:
    match error:
        case NotAuthenticated(shows_token=shows_token):
            detail = "Show a valid service token: Authorization: Bearer …"
            # RFC 6750 §3: only a request with a token gets invalid_token.
            challenge = _CHALLENGE + (', error="invalid_token"' if shows_token else "")
            headers = {"WWW-Authenticate": challenge}
            return ProblemError(
                401, "not-authenticated", detail, _at("Authorization", detail), headers=headers
            )
        case TopicNotAllowed():
            detail = "The token is not for this topic."
            headers = {"WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope"'}
            return ProblemError(
                403, "topic-not-allowed", detail, _at("topic", detail), headers=headers
            )
        case UnknownMail():
            detail = "There is no such mail; it may have been removed."
            return ProblemError(404, "unknown-mail", detail, _at("mail_id", detail))


def bad_field(name: str, message: str) -> ProblemError:
    """Return the problem of one field's value."""
    return ProblemError(422, "bad-field", f"{name}: {message}", _at(name, message))


def _at(name: str, message: str) -> tuple[FieldError]:
    return (FieldError(field=name, message=message),)


def _with_head(methods: str) -> str:
    # Each route with GET answers HEAD, which the framework's list lacks (RFC 9110 §9.1).
    known = {method.strip() for method in methods.split(",")} - {""}
    return ", ".join(sorted(known | {"HEAD"} if "GET" in known else known))


def _retry_after(wait_s: int) -> dict[str, str]:
    return {"Retry-After": str(wait_s)}


def _validation(error: RequestValidationError) -> ProblemError:
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return bad_json()
    errors = [FieldError(field=_field_name(each["loc"]), message=_words(each)) for each in found]
    names = ", ".join(dict.fromkeys(each.field for each in errors))
    return ProblemError(422, "bad-field", f"The request is not valid: {names}.", errors)


def bad_json() -> ProblemError:
    """Return the problem of a body that isn't JSON."""
    return ProblemError(
        400, "bad-json", "The body is not valid JSON.", _at("body", "is not valid JSON")
    )


def _field_name(location: Sequence[Any]) -> str:
    # ("body", "email") or ("header", "idempotency-key"); never deeper than one level here.
    return str(location[1]) if len(location) > 1 else str(location[0])


def _words(found: dict[str, Any]) -> str:
    match found["type"]:
        case "missing":
            return "is required"
        case "string_type":
            return "must be a text"
        case "string_pattern_mismatch":
            return f"must match {found['ctx']['pattern']}"
        case "model_attributes_type" | "model_type" | "dict_type":
            return "must be a JSON object"
        case _:
            return "is not valid"


def _http(error: HTTPException) -> ProblemError:
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return ProblemError(404, "not-found", "There is nothing at this path.")
        case 405:
            allowed = _with_head(headers.get("Allow", ""))
            headers["Allow"] = allowed
            return ProblemError(405, "wrong-method", f"Use {allowed} here.", headers=headers)
        case 400:
            # The framework says so of a body that its JSON reader gave up on.
            return bad_json()
        case status:
            return ProblemError(status, "http", HTTPStatus(status).phrase, headers=headers)
