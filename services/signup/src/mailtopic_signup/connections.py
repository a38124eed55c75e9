"""How many connections may be open, and which one is closed to make room for another.

A connection waits either for the service or for its client: for the rest of a head or a body, for
the next request, or for an answer to be read. Only those that wait for their client are closed, the
longest-waiting first, and before any other those that never sent a whole request. So half-open
connections, however many, don't displace a client that sends its request at once.
"""

import resource
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from mailtopic_runtime import get_logger

_MIN_SPARE_DESCRIPTORS, _MAX_SPARE_DESCRIPTORS = 48, 256
_GIVE_WAY_S = 60.0
_LINE_EVERY_S = 10.0


class Connection(Protocol):
    """A connection that can be closed to make room."""

    def end_for_room(self) -> None:
        """Close the connection at once."""


class _Place:
    """Connections that share a limit: their number, and those that wait for their client."""

    def __init__(self) -> None:
        self.count = 0
        self.newcomers: OrderedDict[Connection, None] = OrderedDict()
        self.served: OrderedDict[Connection, None] = OrderedDict()

    def longest_waiting(self) -> Connection | None:
        for waiting in (self.newcomers, self.served):
            if waiting:
                return next(iter(waiting))
        return None

    def is_busy(self, most: int) -> bool:
        return self.count >= most and self.longest_waiting() is None

    def stop_waiting(self, connection: Connection) -> None:
        self.newcomers.pop(connection, None)
        self.served.pop(connection, None)


class Connections:
    """Open connections, limited in total and for each client.

    The total limit stays below the process's limit of descriptors, whatever the setting: a quarter
    of them, 48 to 256, is left to files, the database and Kafka.

    Args:
        most: the limit in total.
        most_of_client: the limit for one client; None if clients can't be distinguished.
        monotonic_s: the time.
    """

    def __init__(
        self, most: int, most_of_client: int | None, monotonic_s: Callable[[], float]
    ) -> None:
        self._most = most
        self._most_of_client = most_of_client
        self._monotonic_s = monotonic_s
        self._most_for_now = most
        self._for_now_until_s = 0.0
        self._all = _Place()
        self._clients: dict[str, _Place] = {}
        self._client_of: dict[Connection, str] = {}
        self._crowd_log = CountedLine("http.connections_closed_for_room", monotonic_s)

    def admit(self, connection: Connection, client: str) -> bool:
        """Count a new connection, which waits for its client; False if there is no room for it."""
        own = self._clients.get(client) or _Place()
        # A client at its own limit causes no other client's connection to be closed.
        if self._most_of_client is not None and not self._make_room(own, self._most_of_client):
            return False
        if not self._make_room(self._all, self._limit()):
            return False
        self._clients[client] = own
        self._client_of[connection] = client
        for place in (own, self._all):
            place.count += 1
            place.newcomers[connection] = None
        return True

    def waits_for_client(self, connection: Connection, *, was_served: bool) -> None:
        """Record that it is the client's turn; `was_served` if a whole request came before."""
        client = self._client_of.get(connection)
        if client is None:
            return
        for place in (self._clients[client], self._all):
            waiting = place.served if was_served else place.newcomers
            if connection not in waiting:
                place.stop_waiting(connection)
                waiting[connection] = None

    def is_at_work(self, connection: Connection) -> None:
        """Record that it is the service's turn: the connection isn't closed to make room."""
        client = self._client_of.get(connection)
        if client is not None:
            self._clients[client].stop_waiting(connection)
            self._all.stop_waiting(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection; does nothing if it is unknown."""
        client = self._client_of.pop(connection, None)
        if client is None:
            return
        own = self._clients[client]
        for place in (own, self._all):
            place.count -= 1
            place.stop_waiting(connection)
        if not own.count:
            del self._clients[client]

    def is_in_the_way(self, connection: Connection) -> bool:
        """Whether its place is needed: all are taken, and none of them waits for its client."""
        client = self._client_of.get(connection)
        if client is None:
            return False
        own = self._clients[client]
        return self._all.is_busy(self._limit()) or own.is_busy(self._most_of_client or self._most)

    def give_way(self, count: int) -> None:
        """Close the longest-waiting connections, and allow no more than are left for a minute.

        For when the process has no descriptors left, because the rest of it uses more than was
        reserved. It does nothing if called again within a second, as asyncio does in this case.
        """
        now_s = self._monotonic_s()
        if now_s < self._for_now_until_s - _GIVE_WAY_S + 1.0:
            return
        for _ in range(count):
            if not self._end_one(self._all):
                break
        self._most_for_now = max(1, self._all.count)
        self._for_now_until_s = now_s + _GIVE_WAY_S

    def _limit(self) -> int:
        limit = min(self._most, _descriptors_to_use())
        is_short = self._monotonic_s() < self._for_now_until_s
        return min(limit, self._most_for_now) if is_short else limit

    def _make_room(self, place: _Place, most: int) -> bool:
        while place.count >= most:
            if not self._end_one(place):
                self._crowd_log.count()
                return False
        return True

    def _end_one(self, place: _Place) -> bool:
        connection = place.longest_waiting()
        if connection is None:
            return False
        self.remove(connection)
        connection.end_for_room()
        self._crowd_log.count()
        return True


class CountedLine:
    """A warning that is logged every ten seconds at most, with the count since the last one."""

    def __init__(self, event: str, monotonic_s: Callable[[], float]) -> None:
        self._event = event
        self._monotonic_s = monotonic_s
        self._log = get_logger(__name__)
        self._written_at_s: float | None = None
        self._count = 0

    def count(self) -> None:
        """Count once; write the line if it is due."""
        self._count += 1
        now_s = self._monotonic_s()
        if self._written_at_s is None or now_s - self._written_at_s >= _LINE_EVERY_S:
            self._log.warning(self._event, count=self._count)
            self._written_at_s, self._count = now_s, 0


def _descriptors_to_use() -> int:
    # Read each time: the limit of a running process can be changed (prlimit).
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return 1 << 30
    spare = min(max(limit // 4, _MIN_SPARE_DESCRIPTORS), _MAX_SPARE_DESCRIPTORS)
    return max(1, limit - spare)
