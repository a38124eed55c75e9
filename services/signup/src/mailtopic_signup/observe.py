"""Each request: an id, one log line, one measurement; and a problem if the code behind it fails."""

import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailtopic_runtime import get_logger
from mailtopic_signup.metrics import METHODS, SignupMetrics
from mailtopic_signup.problems import internal_problem, problem_response

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_PROBES = {"/livez", "/readyz", "/metrics"}
_CLIENT_LEFT = 499
"""Not sent to anybody: the status under which a request is logged whose client hung up."""


class Observer:
    """The outermost ASGI layer. It logs routes, never paths: a path may hold anything."""

    def __init__(self, app: ASGIApp, *, metrics: SignupMetrics) -> None:
        self._app = app
        self._metrics = metrics
        self._log = get_logger(__name__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, request_id)
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        except ClientDisconnect:
            status = status or _CLIENT_LEFT
        except Exception:  # noqa: BLE001 - the last resort of a request
            self._log.exception("request.failed", request_id=request_id, route=_route(scope))
            if not status:
                response = problem_response(internal_problem(), request_id)
                await response(scope, receive, send_observed)
        self._report(scope, request_id, status, time.perf_counter() - began_s)

    def _report(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        method, route = _method(scope), _route(scope)
        self._metrics.request(method, route, status, seconds)
        log = self._log.debug if route in _PROBES else self._log.info
        log(
            "request.done",
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            request_id=request_id,
        )


def _request_id(given: str | None) -> str:
    if given and _REQUEST_ID.fullmatch(given) and not given.isdecimal():
        return given
    return secrets.token_hex(8)


def _add_headers(message: Message, request_id: str) -> None:
    headers = MutableHeaders(raw=message.setdefault("headers", []))
    headers["X-Request-Id"] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else "OTHER"


def _route(scope: Scope) -> str:
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    return "/static" if scope["path"].startswith("/static/") else "unmatched"
