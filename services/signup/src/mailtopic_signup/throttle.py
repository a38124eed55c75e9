"""How much one client may ask for. In memory: each process counts for itself."""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping

from starlette.requests import Request

from mailtopic_runtime import Clock
from mailtopic_signup.client_address import client_of
from mailtopic_signup.errors import TooManyRequests
from mailtopic_signup.settings import ClientsSettings

MINUTE_S = 60.0
_MAX_CLIENTS = 10_000


class Throttle:
    """Admits a client so many times in any window, wherever it begins.

    What is refused doesn't count. It remembers the latest 10,000 clients: who commands more
    networks than that is not held back by it.

    Args:
        limit: how many times; 0 admits everything.
        window_s: the window's length.
        clock: tells the time.
    """

    def __init__(self, limit: int, window_s: float, clock: Clock) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._admitted: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, client: str) -> float:
        """Admit a client and return 0, or return the seconds until it may come again."""
        if not self._limit:
            return 0.0
        now_s = self._clock.monotonic_s()
        times = self._admitted.setdefault(client, deque(maxlen=self._limit))
        self._admitted.move_to_end(client)
        if len(self._admitted) > _MAX_CLIENTS:
            self._admitted.popitem(last=False)
        if len(times) == self._limit and times[0] > now_s - self._window_s:
            return times[0] + self._window_s - now_s
        times.append(now_s)
        return 0.0


class ClientLimits:
    """The limits of the API, by what is asked for: ``signups`` or ``verifies``."""

    def __init__(
        self, settings: ClientsSettings, clock: Clock, on_refused: Callable[[], None]
    ) -> None:
        self._trusted_proxies = settings.trusted_proxies
        self._on_refused = on_refused
        self._throttles: Mapping[str, Throttle] = {
            "signups": Throttle(settings.signups_per_minute, MINUTE_S, clock),
            "verifies": Throttle(settings.verifies_per_five_minutes, 5 * MINUTE_S, clock),
        }

    def admit(self, kind: str, request: Request) -> None:
        """Count a request.

        Raises:
            TooManyRequests: its client has asked for too much.
        """
        client = client_of(
            request.client.host if request.client else None,
            request.headers.getlist("x-forwarded-for"),
            self._trusted_proxies,
        )
        wait_s = self._throttles[kind].admit(client)
        if wait_s:
            self._on_refused()
            raise TooManyRequests(max(1, round(wait_s + 0.5)))
