"""How long ago each watch last received anything: an event, or the minutely bookmark.

kopf doesn't pass bookmarks on, so the bytes of the open responses are counted instead.
"""

import threading

import aiohttp

from mailtopic_runtime import Clock


class WatchFreshness:
    """Tracks every open watch by its path; the probes' thread reads it as well."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._watches: dict[str, _Watch] = {}

    def opened(self, path: str, response: aiohttp.ClientResponse) -> None:
        """Track the watch of this path that was just answered, in place of an older one."""
        with self._lock:
            if response.status == 200:  # noqa: PLR2004 - OK
                self._watches[path] = _Watch(response, self._clock.monotonic_s())

    def ages_s(self) -> dict[str, float]:
        """Return the seconds since each watch last received anything, by path."""
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
