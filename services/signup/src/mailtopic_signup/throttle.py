"""How much one client may ask for. In memory: each process counts for itself."""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping

from starlette.requests import Request

from mailtopic_runtime import Clock
from mailtopic_signup.client_address import client_of, wider_networks
from mailtopic_signup.errors import TooManyRequests
from mailtopic_signup.settings import ClientsSettings

MINUTE_S = 60.0
_MAX_CLIENTS = 10_000
_WIDER = (4, 16)
"""How many clients each wider network counts as, in the order of `wider_networks`."""


class Throttle:
    """Admits a client up to a limit in any window, wherever it begins.

    Refused attempts don't count. It remembers the latest 10,000 clients: an attacker with more
    networks is not limited.

    Args:
        limit: the number of times; 0 admits everything.
        window_s: the window's length.
        clock: the time.
    """

    def __init__(self, limit: int, window_s: float, clock: Clock) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._admitted: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, client: str) -> float:
        """Admit a client and return 0, or return the seconds until it may try again."""
        wait_s = self.wait_s(client)
        if not wait_s:
            self.count(client)
        return wait_s

    def wait_s(self, client: str) -> float:
        """Return the seconds until a client is admitted; 0: now."""
        times = self._admitted.get(client)
        now_s = self._clock.monotonic_s()
        if not self._limit or times is None or len(times) < self._limit:
            return 0.0
        if times[0] <= now_s - self._window_s:
            return 0.0
        return times[0] + self._window_s - now_s

    def count(self, client: str) -> None:
        """Count an attempt of a client."""
        if not self._limit:
            return
        times = self._admitted.setdefault(client, deque(maxlen=self._limit))
        self._admitted.move_to_end(client)
        if len(self._admitted) > _MAX_CLIENTS:
            self._admitted.popitem(last=False)
        times.append(self._clock.monotonic_s())


class WideThrottle:
    """Admits a client unless it, or a wider network that it belongs to, is at its limit.

    Args:
        limit: the number of times a client is admitted in a window; 0 admits everything.
        window_s: the window's length.
        clock: the time.
    """

    def __init__(self, limit: int, window_s: float, clock: Clock) -> None:
        self._throttles = [Throttle(limit * share, window_s, clock) for share in (1, *_WIDER)]

    def admit(self, client: str) -> float:
        """Admit a client and return 0, or return the seconds until it may try again."""
        networks = list(zip(self._throttles, (client, *wider_networks(client)), strict=False))
        wait_s = max(throttle.wait_s(network) for throttle, network in networks)
        if not wait_s:
            for throttle, network in networks:
                throttle.count(network)
        return wait_s


class ClientLimits:
    """The limits of the API, by kind: ``signups`` or ``verifies``."""

    def __init__(
        self, settings: ClientsSettings, clock: Clock, on_refused: Callable[[], None]
    ) -> None:
        self._trusted_proxies = settings.trusted_proxies
        self._on_refused = on_refused
        self._throttles: Mapping[str, WideThrottle] = {
            "signups": WideThrottle(settings.signups_per_minute, MINUTE_S, clock),
            "verifies": WideThrottle(settings.verifies_per_five_minutes, 5 * MINUTE_S, clock),
        }

    def admit(self, kind: str, request: Request) -> None:
        """Count a request.

        Raises:
            TooManyRequests: its client is at its limit.
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
