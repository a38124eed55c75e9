"""A shortcut past the router for the route of most requests.

Nothing else differs: the route's own handler answers, and errors are answered as everywhere.
"""

from collections.abc import Iterable

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from mailtopic_signup.problems import HANDLED, answer_problem


class Direct:
    """An ASGI layer that hands requests for some routes to their handlers.

    Args:
        app: gets all other requests.
        routes: routes without parameters in their paths.
    """

    def __init__(self, app: ASGIApp, *, routes: Iterable[APIRoute]) -> None:
        self._app = app
        self._routes = {
            ("http", method, route.path): (route, route.get_route_handler())
            for route in routes
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        found = self._routes.get((scope["type"], scope.get("method", ""), scope.get("path", "")))
        if found is None:
            await self._app(scope, receive, send)
            return
        route, handle = found
        scope["route"] = route
        request = Request(scope, receive, send)
        try:
            response = await handle(request)
        except HANDLED as error:
            response = await answer_problem(request, error)
        await response(scope, receive, send)
