"""The routes of the API: HTTP in, HTTP out, and nothing else."""

import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request
from starlette.responses import Response

from mailtopic_signup.body import BoundedRoute, check_json, read_body, read_model
from mailtopic_signup.errors import BadField, UnknownChallenge
from mailtopic_signup.language import choose_locale
from mailtopic_signup.problems import MEDIA_TYPE
from mailtopic_signup.schemas import (
    SignupAccepted,
    SignupRequest,
    SignupStatus,
    Verified,
    VerifyRequest,
)
from mailtopic_signup.service import SignupService, canonical_text

_CHALLENGE_ID = re.compile(r"[0-9a-f]{32}")
_MAX_KEY_LENGTH = 255

_THROTTLED = {"resend": "signups", "verify": "verifies"}


class ThrottledRoute(BoundedRoute):
    """A route with a limit for each client, checked before the body is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, preceded by the limit."""
        handle = super().get_route_handler()
        kind = _THROTTLED.get(self.name)
        if kind is None:
            return handle

        async def handle_counted(request: Request) -> Response:
            request.app.state.clients.admit(kind, request)
            return await handle(request)

        return handle_counted


class BeginRoute(ThrottledRoute):
    """The route of a signup, which reads the request itself.

    The framework resolves arguments again for each request, which costs more than the rest of a
    signup. Both ways of reading the body give the same answers.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler."""

        async def handle_begin(request: Request) -> Response:
            state = request.app.state
            state.clients.admit("signups", request)
            body = await read_body(request)
            if body:
                check_json(request, body)
            return await begin(
                request,
                read_model(body, SignupRequest),
                state.service,
                request.state.traceparent,
                request.headers.get("idempotency-key"),
            )

        return handle_begin


begin_router = APIRouter(prefix="/v1", route_class=BeginRoute, tags=["signups"])
router = APIRouter(prefix="/v1", route_class=ThrottledRoute, tags=["signups"])


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of the problems that a route can answer with."""
    words = {
        400: "The body is not valid JSON in UTF-8",
        401: "There is no service token, or nobody's (then with WWW-Authenticate)",
        403: "The service token is not for this topic",
        404: "There is nothing with this id",
        408: "The body came too slowly",
        409: "It is verified already, or the same Idempotency-Key is being answered",
        410: "It has expired",
        413: "The body is too long",
        415: "The body is not application/json",
        422: "A field is not valid, or the code is wrong (then with tries_left)",
        429: "Too many wrong codes, too soon for another mail, or too many requests of a client",
        503: "The service can't store anything just now",
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": words[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in (*statuses, 503)
    }


# Dependencies are coroutines: the framework runs plain functions in a thread each.
async def _service(request: Request) -> SignupService:
    service: SignupService = request.app.state.service
    return service


async def _challenge_id(
    challenge_id: Annotated[str, Path(json_schema_extra={"pattern": "^[0-9a-f]{32}$"})],
) -> str:
    # A malformed id is an unknown id: 404 as well, without a query.
    if not _CHALLENGE_ID.fullmatch(challenge_id):
        raise UnknownChallenge
    return challenge_id


async def _traceparent(request: Request) -> str | None:
    # Not the header: this one is validated, and a traced request is itself the mail's parent.
    given: str | None = request.state.traceparent
    return given


Service = Annotated[SignupService, Depends(_service)]
ChallengeId = Annotated[str, Depends(_challenge_id)]
Traceparent = Annotated[str | None, Depends(_traceparent)]


@begin_router.post(
    "/signups",
    status_code=202,
    response_model=SignupAccepted,
    responses=documented(400, 408, 409, 413, 415, 422, 429),
    summary="Start a signup",
)
async def begin(
    request: Request,
    body: SignupRequest,
    service: Service,
    traceparent: Traceparent,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="The same key with the same body gets the same answer for 24 hours.",
            json_schema_extra={"minLength": 1, "maxLength": _MAX_KEY_LENGTH},
        ),
    ] = None,
) -> Response:
    """Store a challenge and the mail with its code; the mail goes out at once, or later."""
    if idempotency_key is not None and not 1 <= len(idempotency_key) <= _MAX_KEY_LENGTH:
        raise BadField("Idempotency-Key", f"must have 1 to {_MAX_KEY_LENGTH} characters")
    accept_language = request.headers.get("accept-language")
    accepted = await service.begin(
        body.email,
        choose_locale(body.locale, accept_language, request.app.state.default_locale),
        idempotency_key=idempotency_key,
        fingerprint=canonical_text(body.email, body.locale) if idempotency_key else None,
        traceparent=traceparent,
    )
    # For the log line: in A-labels, so that a look-alike of a domain shows.
    request.state.mail_domain = accepted.domain
    return Response(accepted.body, status_code=202, media_type="application/json")


@router.get(
    "/signups/{challenge_id}",
    response_model=SignupStatus,
    responses=documented(404),
    summary="See where a signup stands",
)
async def status(challenge_id: ChallengeId, service: Service) -> Response:
    """Tell the state, and what is known of the mail's delivery."""
    found = await service.status(challenge_id)
    return Response(found.model_dump_json(), media_type="application/json")


@router.post(
    "/signups/{challenge_id}/verify",
    response_model=Verified,
    responses=documented(400, 404, 408, 409, 410, 413, 415, 422, 429),
    summary="Confirm the address with the code",
)
async def verify(challenge_id: ChallengeId, body: VerifyRequest, service: Service) -> Response:
    """Take the code. Every try counts, right or wrong; a code works once."""
    user_id = await service.verify(challenge_id, body.code)
    return Response(Verified(user_id=user_id).model_dump_json(), media_type="application/json")


@router.post(
    "/signups/{challenge_id}/resend",
    status_code=202,
    response_model=SignupAccepted,
    responses=documented(404, 408, 409, 410, 413, 429),
    summary="Send a code again",
)
async def resend(challenge_id: ChallengeId, service: Service, traceparent: Traceparent) -> Response:
    """Mail a code again; what was mailed before stays valid, wrong tries stay counted.

    Where the address has had its mails for now, the latest mail's code works here.
    """
    accepted = await service.resend(challenge_id, traceparent=traceparent)
    return Response(accepted, status_code=202, media_type="application/json")
