"""Each request: an id, one log line, one measurement; and a problem if its handler fails."""

import re
import secrets
import time

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailtopic_contract import read_trace_context
from mailtopic_runtime import NO_SPAN, NO_TRACER, Span, SpanKind, Tracer, get_logger
from mailtopic_signup.metrics import METHODS, SignupMetrics
from mailtopic_signup.problems import internal_problem, problem_response
from mailtopic_signup.request_head import refuse_head
from mailtopic_signup.request_log import RequestLog

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_PROBES = {"/livez", "/readyz", "/metrics"}
_API = "/v1/"
_SERVER_ERROR = 500
_CLIENT_LEFT = 499
"""Never sent: the status logged for a request after its client disconnected."""


class Observer:
    """The outermost ASGI layer. It logs routes, never paths: a path may hold anything.

    It refuses heads that are too long or ambiguous, and answers HEAD as GET without the body
    (RFC 9110 §9.3.2), because the framework's routes don't.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: SignupMetrics,
        lines: RequestLog,
        max_head_bytes: int,
        tracer: Tracer = NO_TRACER,
        follow_callers: bool = True,
    ) -> None:
        self._app = app
        self._tracer = tracer
        self._follow_callers = follow_callers
        self._metrics = metrics
        self._lines = lines
        self._max_head_bytes = max_head_bytes
        self._log = get_logger(__name__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        method = _method(scope)
        if method == "HEAD":
            # A copy: the server reads the method from its own scope, and sends no body.
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        with self._span(scope) as span:
            status = await self._handle(scope, receive, send, request_id)
            if span.is_recorded:
                _describe(span, method, scope, status)
        self._report(method, scope, status, time.perf_counter() - began_s)

    def _span(self, scope: Scope) -> Span:
        headers = Headers(scope=scope)
        trace = None
        if self._follow_callers:
            trace = read_trace_context(headers.getlist("traceparent"))
        is_call = scope["path"].startswith(_API)
        span = self._tracer.span("request", SpanKind.SERVER, parent=trace) if is_call else NO_SPAN
        scope["state"]["traceparent"] = span.traceparent or (trace.traceparent if trace else None)
        return span

    async def _handle(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        """Return the status of the answer."""
        status = 0

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, request_id)
            await send(message)

        try:
            refusal = refuse_head(scope, self._max_head_bytes)
            if refusal is None:
                await self._app(scope, receive, send_observed)
            else:
                await problem_response(refusal, request_id)(scope, receive, send_observed)
        except ClientDisconnect:
            status = status or _CLIENT_LEFT
        except Exception:  # noqa: BLE001 - the last resort of a request
            self._log.exception("request.failed", request_id=request_id, route=_route(scope))
            if not status:
                response = problem_response(internal_problem(), request_id)
                await response(scope, receive, send_observed)
        return status

    def _report(self, method: str, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        self._metrics.request(method, route, status, seconds)
        domain = scope["state"].get("mail_domain")
        self._lines.write(
            method=method,
            route=route,
            status=status,
            is_probe=route in _PROBES,
            ms=round(seconds * 1000, 1),
            request_id=scope["state"]["request_id"],
            **({"domain": domain} if domain else {}),
        )


def _without_body(send: Send) -> Send:
    async def send_bare(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_bare


def _request_id(given: str | None) -> str:
    if given and _REQUEST_ID.fullmatch(given) and not given.isdecimal():
        return given
    return secrets.token_hex(8)


def _add_headers(message: Message, request_id: str) -> None:
    headers = message.setdefault("headers", [])
    headers.append((b"x-request-id", request_id.encode("ascii")))
    headers.append((b"x-content-type-options", b"nosniff"))
    if not any(name.lower() == b"cache-control" for name, _ in headers):
        headers.append((b"cache-control", b"no-store"))


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else "OTHER"


def _route(scope: Scope) -> str:
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    return "/static" if scope["path"].startswith("/static/") else "unmatched"


def _describe(span: Span, method: str, scope: Scope, status: int) -> None:
    """Set what OpenTelemetry's semantic conventions for HTTP servers ask for; never the path."""
    route = _route(scope)
    span.name(f"{method} {route}")
    span.set("http.request.method", method)
    span.set("http.route", route)
    span.set("http.response.status_code", status)
    span.set("url.scheme", scope.get("scheme"))
    if status >= _SERVER_ERROR:
        span.fail(str(status))
