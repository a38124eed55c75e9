"""How long ago each watch last brought anything: an event, or the bookmark of every minute.

kopf hands bookmarks to nobody, so the bytes of the open responses are counted instead.
"""

import threading

import aiohttp

from mailtopic_runtime import Clock


class WatchFreshness:
    """Knows every open watch by its path; asked from the probes' thread as well."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._watches: dict[str, _Watch] = {}

    def opened(self, path: str, response: aiohttp.ClientResponse) -> None:
        """A watch of this path was answered; it follows an older one of the same path."""
        with self._lock:
            if response.status == 200:  # noqa: PLR2004 - OK
                self._watches[path] = _Watch(response, self._clock.monotonic_s())

    def ages_s(self) -> dict[str, float]:
        """Return the seconds since each watch last brought anything, by path."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            return {path: watch.age_s(now_s) for path, watch in self._watches.items()}


class _Watch:
    def __init__(self, response: aiohttp.ClientResponse, now_s: float) -> None:
        self._response = response
        self._bytes = 0
        self._seen_s = now_s

    def age_s(self, now_s: float) -> float:
        received = self._response.content.total_bytes
        if received != self._bytes:
            self._bytes, self._seen_s = received, now_s
        return now_s - self._seen_s
