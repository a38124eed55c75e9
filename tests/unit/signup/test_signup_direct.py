"""A signup's route reads its request itself, and answers as the framework would."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response

from mailtopic_signup.problems import HANDLED, answer_problem
from mailtopic_signup.schemas import SignupRequest
from support.signup_service import Signup

JSON = {"content-type": "application/json"}
BODIES = (
    b"",
    b"null",
    b"[]",
    b'"anna@example.com"',
    b"{",
    b"nonsense",
    b"NaN",
    b"{}",
    b'{"email": 1}',
    b'{"email": null, "locale": 2}',
    b'{"email": "anna@example.com", "locale": []}',
    b'\xef\xbb\xbf{"locale": "ru"}',
    b"[" * 10_000,
    b"1" * 5_000,
)


@pytest.fixture
async def framework() -> AsyncIterator[httpx.AsyncClient]:
    """The same route, its body read by the framework."""
    app = FastAPI()

    @app.post("/v1/signups")
    async def begin(body: SignupRequest) -> Response:
        return Response(body.email, status_code=202)

    for error in HANDLED:
        app.add_exception_handler(error, answer_problem)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://framework.test") as client:
        yield client


def told(answer: httpx.Response) -> dict[str, Any]:
    """What an answer says, without the request's id."""
    found: dict[str, Any] = answer.json()
    return {name: value for name, value in found.items() if name != "instance"}


@pytest.mark.parametrize("body", BODIES)
async def test_a_bad_body_is_answered_as_by_the_framework(
    signup: Signup, framework: httpx.AsyncClient, body: bytes
) -> None:
    ours = await signup.client.post("/v1/signups", content=body, headers=JSON)
    theirs = await framework.post("/v1/signups", content=body, headers=JSON)
    assert ours.status_code == theirs.status_code != 202
    assert told(ours) == told(theirs)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/signups", 405), ("POST", "/v1/signups/", 404), ("PUT", "/v1/signups", 405)],
)
async def test_whatever_is_no_signup_takes_the_ordinary_way(
    signup: Signup, method: str, path: str, status: int
) -> None:
    answer = await signup.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_error_nobody_expected_is_a_500_that_tells_nothing(
    signup: Signup, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("anna@example.com")

    monkeypatch.setattr(signup.parts.app.state.service, "begin", fail)
    answer = await signup.post("/v1/signups", {"email": "anna@example.com"})
    assert answer.status_code == 500
    assert answer.json()["type"].endswith("internal")
    assert "anna" not in answer.text
