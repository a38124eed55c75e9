"""The routes for other services: HTTP in, HTTP out, and nothing else."""

import re
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Security
from fastapi.security import HTTPBearer
from starlette.responses import Response

from mailtopic_signup.body import BoundedRoute
from mailtopic_signup.domain.tokens import Caller, Tokens
from mailtopic_signup.errors import NotAuthenticated, UnknownMail
from mailtopic_signup.mails import MailService
from mailtopic_signup.routes import Traceparent, documented
from mailtopic_signup.schemas import MailAccepted, MailRequest, MailStatus

_MAIL_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class AuthenticatedRoute(BoundedRoute):
    """A route for callers with a token; nothing else of a request is checked before it."""

    def admit(self, request: Request) -> None:
        """Find the caller that the request's token belongs to.

        Raises:
            NotAuthenticated: it has none, or an unknown one.
        """
        tokens: Tokens = request.app.state.tokens
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        shows_token = scheme.lower() == "bearer"
        caller = tokens.find(token.strip()) if shows_token else None
        if caller is None:
            raise NotAuthenticated(shows_token=shows_token)
        request.state.caller = caller


# Only for the OpenAPI: the route has checked the token before.
_BEARER = HTTPBearer(
    auto_error=False, scheme_name="ServiceToken", description="A service token of its topics."
)
router = APIRouter(
    prefix="/v1",
    route_class=AuthenticatedRoute,
    tags=["mails"],
    dependencies=[Security(_BEARER)],
)


async def _service(request: Request) -> MailService:
    service: MailService = request.app.state.mails
    return service


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def _mail_id(
    mail_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})],
) -> UUID:
    # A malformed id is an unknown id: 404 as well, without a query.
    if not _MAIL_ID.fullmatch(mail_id):
        raise UnknownMail
    return UUID(mail_id)


Service = Annotated[MailService, Depends(_service)]
Authenticated = Annotated[Caller, Depends(_caller)]
MailId = Annotated[UUID, Depends(_mail_id)]


@router.post(
    "/mails",
    status_code=202,
    response_model=MailAccepted,
    responses=documented(400, 401, 403, 408, 413, 415, 422),
    summary="Send a mail",
)
async def send(
    request: Request,
    body: MailRequest,
    caller: Authenticated,
    service: Service,
    traceparent: Traceparent,
) -> Response:
    """Store a mail to one of the token's topics; it goes out at once, or later."""
    accepted = await service.take(
        caller,
        body,
        locale=body.locale or request.app.state.default_locale,
        traceparent=traceparent,
    )
    return Response(accepted, status_code=202, media_type="application/json")


@router.get(
    "/mails/{mail_id}",
    response_model=MailStatus,
    responses=documented(401, 404),
    summary="See what became of a mail",
)
async def status(mail_id: MailId, caller: Authenticated, service: Service) -> Response:
    """Tell the latest that is known of a mail of one of the token's topics."""
    found = await service.status(caller, mail_id)
    return Response(found.model_dump_json(exclude_none=True), media_type="application/json")
