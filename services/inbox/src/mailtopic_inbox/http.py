"""The HTTP side of the inbox: the page, and an API in Mailpit's shapes.

Errors are problem details (RFC 9457). The API has no login, so it answers only requests for a
loopback name, or for one from its settings: a page from elsewhere cannot reach it by pointing its
own name at this address. Probes answer to any name; a kubelet asks for the pod's address.
"""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailtopic_inbox.events import EventFeed
from mailtopic_inbox.store import MailStore

MAX_LIMIT = 10_000
_MAX_START = 2**53
_MAX_BODY_BYTES = 1024 * 1024
_PAGES = Path(__file__).with_name("pages")
_SIGNUP = '<meta name="mailtopic-signup" content="">'
_LOOPBACK_NAMES = ["127.0.0.1", "localhost"]
# Mails are shown in a sandboxed frame that inherits this: styles of their own, nothing fetched.
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; frame-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(
    store: MailStore,
    feed: EventFeed,
    *,
    signup_url: str | None = None,
    allowed_hosts: Sequence[str] = (),
) -> Starlette:
    """The ASGI application of the inbox; its page links to `signup_url` if there is one.

    It answers to `allowed_hosts` beside the loopback names; "*.example" covers all below it.
    """
    api = _Api(store, feed)
    page = _Page(signup_url)
    named = Middleware(TrustedHostMiddleware, allowed_hosts=[*_LOOPBACK_NAMES, *allowed_hosts])
    guarded = [
        Route("/api/v1/messages", api.list, methods=["GET"]),
        Route("/api/v1/messages", api.delete, methods=["DELETE"]),
        Route("/api/v1/message/{id}", api.show, methods=["GET"]),
        Route("/api/v1/message/{id}/raw", api.raw, methods=["GET"]),
        Route("/api/v1/events", api.events, methods=["GET"]),
        Route("/", page.show, methods=["GET"]),
        Mount("/static", StaticFiles(directory=_PAGES, check_dir=False)),
    ]
    return Starlette(
        routes=[
            Route("/livez", _live, methods=["GET"]),
            Route("/readyz", _live, methods=["GET"]),
            Mount("/", routes=guarded, middleware=[named]),
        ],
        middleware=[Middleware(_SecurityHeaders)],
        exception_handlers={HTTPException: _problem},
    )


class _Api:
    def __init__(self, store: MailStore, feed: EventFeed) -> None:
        self._store, self._feed = store, feed

    async def list(self, request: Request) -> Response:
        start = _whole_number(request, "start", default=0, most=_MAX_START)
        limit = _whole_number(request, "limit", default=50, most=MAX_LIMIT)
        return _json(await self._store.page(start=start, limit=limit))

    async def show(self, request: Request) -> Response:
        detail = await self._store.detail(request.path_params["id"])
        if detail is None:
            raise HTTPException(404, "There is no mail with this id.")
        return _json(detail)

    async def raw(self, request: Request) -> Response:
        raw = await self._store.raw(request.path_params["id"])
        if raw is None:
            raise HTTPException(404, "There is no mail with this id.")
        # As plain text: a mail's own type could make the browser run it.
        return Response(raw, media_type="text/plain; charset=utf-8")

    async def delete(self, request: Request) -> Response:
        await self._store.delete(await _ids_to_delete(request))
        return PlainTextResponse("ok")

    async def events(self, _request: Request) -> Response:
        return StreamingResponse(
            self._feed.stream(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )


async def _live(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


class _Page:
    def __init__(self, signup_url: str | None) -> None:
        self._filled_in = _SIGNUP.replace('""', f'"{escape(signup_url or "")}"')

    async def show(self, _request: Request) -> Response:
        text = (_PAGES / "index.html").read_text("utf-8")
        page = text.replace(_SIGNUP, self._filled_in)
        return HTMLResponse(page, headers={"Cache-Control": "no-cache"})


class _SecurityHeaders:
    """ASGI middleware; plain ASGI, because Starlette's own base class blocks streams."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY_HEADERS)
            await send(message)

        await self._app(scope, receive, send_secured)


async def _ids_to_delete(request: Request) -> "list[str] | None":
    """The `IDs` of the body; None (every mail) without a body or without ids."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY_BYTES:
                raise HTTPException(413, "The body is larger than 1 MiB.")
    except ClientDisconnect:
        raise HTTPException(400, "The body ended early.") from None
    if not body.strip():
        return None
    try:
        ids = json.loads(body).get("IDs") or None
    except (ValueError, AttributeError, RecursionError):
        raise HTTPException(400, 'The body is not JSON of the form {"IDs": ["…"]}.') from None
    if ids is not None and not (isinstance(ids, list) and all(isinstance(i, str) for i in ids)):
        raise HTTPException(400, "IDs is not a list of strings.")
    return ids


def _whole_number(request: Request, name: str, *, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not is_number or int(text) > most:
        raise HTTPException(400, f"{name} is not a whole number from 0 to {most}.")
    return int(text)


async def _problem(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    headers = getattr(error, "headers", None)
    body = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status}
    return _json({**body, "detail": detail}, status, "application/problem+json", headers)


_TITLES = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
}


def _json(
    value: Any, status: int = 200, media_type: str = "application/json", headers: Any = None
) -> Response:
    # ASCII escapes: a mail may hold half a surrogate pair, which UTF-8 cannot.
    return Response(json.dumps(value), status, headers=headers, media_type=media_type)
