"""A request's body: bounded in length and time, UTF-8, JSON; checked before it is parsed."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.types import Message as AsgiMessage

from mailtopic_signup.problems import ProblemError, bad_json
from mailtopic_signup.schemas import FieldError

_MAX_DISCARDED_BYTES = 4_194_304
# Nearly all clients send these; parsing others costs more than all other checks.
_PLAIN_TYPES = {"application/json", "application/json; charset=utf-8"}

_UTF_8 = {"utf-8", "utf8"}
_LENGTH = re.compile(r"[0-9]{1,18}")

Model = TypeVar("Model", bound=BaseModel)


class BoundedRoute(APIRoute):
    """A route that passes its handler no body that is too long, not a JSON type or not UTF-8."""

    def admit(self, request: Request) -> None:
        """Raise an error that `answer_problem` handles if the request must be refused.

        It is called after the body was read: otherwise the client might not get the answer. The
        default admits every request.
        """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, preceded by the body's checks."""
        handle = super().get_route_handler()
        expects_json = self.body_field is not None
        if "POST" not in (self.methods or set()):

            async def handle_bare(request: Request) -> Response:
                self.admit(request)
                return await handle(request)

            return handle_bare

        async def handle_bounded(request: Request) -> Response:
            body = await read_body(request)
            self.admit(request)
            if expects_json and body:
                check_json(request, body)
            return await handle(Request(request.scope, _once(body)))

        return handle_bounded


async def read_body(request: Request) -> bytes:
    """Return a request's body.

    Raises:
        ProblemError: it is too long or too slow.
    """
    state = request.app.state
    try:
        async with asyncio.timeout(state.body_timeout_s):
            return await _read(request, state.max_body_bytes)
    except TimeoutError:
        raise _too_slow(state.body_timeout_s) from None


def check_json(request: Request, body: bytes) -> None:
    """Reject a body whose Content-Type isn't JSON or that isn't UTF-8.

    Raises:
        ProblemError: it is one of these.
    """
    _check_type(request.headers.get("content-type", ""))
    _check_encoding(body)


def read_model(body: bytes, model: type[Model]) -> Model:
    """Return a body as a model; errors are reported as the framework reports them.

    Raises:
        ProblemError: it isn't JSON.
        RequestValidationError: the JSON doesn't match the model.
    """
    if not body:
        raise RequestValidationError([{"type": "missing", "loc": ("body",)}])
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise bad_json() from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        located = [{**each, "loc": ("body", *each["loc"])} for each in found]
        raise RequestValidationError(located) from None


async def _read(request: Request, max_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    is_too_long = bool(_LENGTH.fullmatch(announced)) and int(announced) > max_bytes
    if is_too_long and "expect" in request.headers:
        raise _too_large(max_bytes)  # the client sent Expect and waits, so there is no body yet
    chunks: list[bytes] = []
    length = 0
    # A client that is still sending when the connection closes loses the answer. So a body that is
    # too long is read to its end and discarded, up to a limit.
    async for chunk in request.stream():
        length += len(chunk)
        is_too_long = is_too_long or length > max_bytes
        if not is_too_long:
            chunks.append(chunk)
        elif length > _MAX_DISCARDED_BYTES:
            break
        else:
            chunks.clear()
    if is_too_long:
        raise _too_large(max_bytes)
    return b"".join(chunks)


def _once(body: bytes) -> Callable[[], Coroutine[Any, Any, AsgiMessage]]:
    async def receive() -> AsgiMessage:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _too_large(max_bytes: int) -> ProblemError:
    return ProblemError(
        413,
        "too-large",
        f"The body has more than {max_bytes} bytes.",
        (FieldError(field="body", message=f"must have at most {max_bytes} bytes"),),
        # Remaining bytes of the body must not be read as another request.
        headers={"Connection": "close"},
    )


def _too_slow(timeout_s: float) -> ProblemError:
    return ProblemError(
        408,
        "too-slow",
        f"The body did not come within {timeout_s:g} seconds.",
        (FieldError(field="body", message="came too slowly"),),
        headers={"Connection": "close"},
    )


def _check_type(content_type: str) -> None:
    if content_type in _PLAIN_TYPES:
        return
    # RFC 9110 §8.3.1. A quoted semicolon would end a parameter here; no charset has one.
    media_type, *parameters = (part.strip() for part in content_type.lower().split(";"))
    pairs = [parameter.partition("=") for parameter in parameters]
    charsets = {value.strip('"') for name, _, value in pairs if name == "charset"}
    if media_type != "application/json" or not charsets <= _UTF_8:
        raise ProblemError(
            415,
            "not-json",
            "The body must be application/json in UTF-8.",
            (FieldError(field="Content-Type", message="must be application/json"),),
            headers={"Accept": "application/json"},
        )


def _check_encoding(body: bytes) -> None:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise bad_json() from None
