"""One HTTP connection: uvicorn's, with timeouts and a bound on what it buffers."""

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mailtopic_signup.client_address import client_of
from mailtopic_signup.connections import Connections
from mailtopic_signup.problems import MEDIA_TYPE, ProblemError, problem_body

_RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client may take, in seconds: for a head, and to read what it asked for."""

    head_s: float
    read_s: float


class BoundedProtocol(H11Protocol):
    """A connection that closes if its client takes too long, or if its place is needed.

    By default uvicorn waits for ever for a request's head, and for an answer to be read; and each
    such connection costs a descriptor.
    """

    def __init__(self, *, connections: Connections, patience: Patience, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._places = connections
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None
        self._is_reader_slow = False
        self._was_served = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, or answer 503 if there is none."""
        super().connection_made(transport)
        client = client_of(self.client[0] if self.client else None, (), 0)
        if self._places.admit(self, client):
            self._see_whose_turn_it_is()
        else:
            self._refuse(_crowded())

    def data_received(self, data: bytes) -> None:
        """Handle received bytes; ignores them on a connection that is being closed."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._see_whose_turn_it_is()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._places.remove(self)
        self._stop_timer()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request; its head has no time limit before it begins."""
        self._was_served = True
        if self._places.is_in_the_way(self):
            self.transport.close()  # pipelined requests are dropped
        super().on_response_complete()
        self._see_whose_turn_it_is(is_idle=True)

    def pause_writing(self) -> None:
        """Wait until the client has read."""
        super().pause_writing()
        self._is_reader_slow = True
        self._see_whose_turn_it_is()

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._is_reader_slow = False
        self._stop_timer()
        self._see_whose_turn_it_is(is_idle=True)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's
        """Answer what isn't HTTP with a problem, and close."""
        # uvicorn calls it where it handles h11's error, which says more than its text.
        error = sys.exc_info()[1]
        self._refuse(_bad_request(getattr(error, "error_status_hint", 400)))

    def end_for_room(self) -> None:
        """Close the connection at once."""
        self._stop_timer()
        self.transport.abort()

    def _see_whose_turn_it_is(self, *, is_idle: bool = False) -> None:
        is_between = self.cycle is None or self.cycle.response_complete
        is_reading = self._is_reader_slow or self.transport.is_closing()
        if is_reading:
            self._start_timer(self._patience.read_s)
        elif is_between and not is_idle:
            self._start_timer(self._patience.head_s)
        elif not is_between:
            self._stop_timer()
        if is_between or is_reading or self.cycle.more_body:
            self._places.waits_for_client(self, was_served=self._was_served)
        else:
            self._places.is_at_work(self)

    def _start_timer(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, problem: ProblemError) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            # The head was valid and the body isn't: the handler sees a disconnected client.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        # If an answer has been started already, none can be sent.
        with contextlib.suppress(h11.LocalProtocolError):
            body = problem_body(problem, None)
            headers = {
                "Content-Type": MEDIA_TYPE,
                "Content-Length": str(len(body)),
                "Connection": "close",
                **problem.headers,
            }
            head = h11.Response(
                status_code=problem.status,
                headers=[(name.encode(), value.encode()) for name, value in headers.items()],
                reason=HTTPStatus(problem.status).phrase.encode(),
            )
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _crowded() -> ProblemError:
    return ProblemError(
        503,
        "crowded",
        "There are too many connections; try again in a moment.",
        headers={"Retry-After": str(_RETRY_AFTER_S)},
    )


def _bad_request(status: int) -> ProblemError:
    if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        return ProblemError(status, "head-too-large", "The request's head is too long.")
    return ProblemError(
        status if status in set(HTTPStatus) else 400, "bad-request", "This is no valid HTTP/1.1."
    )
