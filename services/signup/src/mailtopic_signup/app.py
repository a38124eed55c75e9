"""The ASGI application, assembled from its parts."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from mailtopic_runtime import NO_TRACER, Tracer
from mailtopic_signup import mail_routes, routes, system_routes
from mailtopic_signup.direct import Direct
from mailtopic_signup.domain.tokens import Tokens
from mailtopic_signup.mails import MailService
from mailtopic_signup.observe import Observer
from mailtopic_signup.openapi import describe_api
from mailtopic_signup.problems import HANDLED, answer_problem
from mailtopic_signup.request_log import RequestLog
from mailtopic_signup.service import SignupService
from mailtopic_signup.settings import SignupSettings
from mailtopic_signup.site import PAGES, add_site
from mailtopic_signup.system_routes import System
from mailtopic_signup.throttle import ClientLimits

_DESCRIPTION = (
    "Confirms that somebody reads an e-mail address, with a one-time code. "
    "It is no authentication factor. Errors are RFC 9457 problem details."
)


class _Signup(FastAPI):
    """The application with our own layers around the framework's."""

    observe: Callable[[ASGIApp], Observer]

    def build_middleware_stack(self) -> ASGIApp:
        """Return all layers; the framework calls it once."""
        begin = [route for route in routes.begin_router.routes if isinstance(route, APIRoute)]
        return self.observe(Direct(super().build_middleware_stack(), routes=begin))


def create_app(
    settings: SignupSettings,
    service: SignupService,
    system: System,
    clients: ClientLimits,
    *,
    mails: MailService,
    tokens: Tokens | None,
    tracer: Tracer = NO_TRACER,
) -> FastAPI:
    """Return the application; it opens nothing by itself. Without tokens it has no mail routes."""
    app = _Signup(
        title="MailTopic signup",
        version=version("mailtopic-signup"),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.observe = partial(
        Observer,
        metrics=system.metrics,
        lines=RequestLog(settings.http.logged_requests_per_s, system.clock),
        max_head_bytes=settings.http.max_head_bytes,
        tracer=tracer,
        follow_callers=settings.tracing.follow_callers,
    )
    app.state.service = service
    app.state.system = system
    app.state.clients = clients
    app.state.max_body_bytes = settings.http.max_body_bytes
    app.state.body_timeout_s = settings.http.body_timeout_s
    app.state.default_locale = settings.default_locale
    app.include_router(routes.begin_router)
    app.include_router(routes.router)
    if tokens is not None:
        app.state.mails = mails
        app.state.tokens = tokens
        app.include_router(mail_routes.router)
    app.include_router(system_routes.router)
    if settings.pages.enabled:
        add_site(app, PAGES, settings)
    for error in HANDLED:
        app.add_exception_handler(error, answer_problem)
    # The framework looks the document up on the instance; this is its documented way to change it.
    app.openapi = lambda: describe_api(app)  # type: ignore[method-assign]
    return app
