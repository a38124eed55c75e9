"""Senders and a relay in virtual time: discrete events, the same for the same seed."""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.pace.models import Connection, Model, Offered, Reply
from mailtopic_sender.domain.pace import (
    Learned,
    PaceBounds,
    Refusal,
    RefusalKind,
    RelayPace,
    Verdict,
)
from mailtopic_sender.domain.replies import ReplyClass, classify
from mailtopic_sender.engine.relays.backoff import Backoff


@dataclass
class Mail:
    arrived_s: float
    recipient: int
    refusals: int = 0


@dataclass
class Count:
    """What happened at the relay, by whole seconds of virtual time."""

    taken: list[int]
    refused: list[int]
    waits: list[tuple[float, float]] = field(default_factory=list)


class World:
    """Time, one relay, and the events to come."""

    def __init__(self, models: Sequence[Model], *, until_s: float, seed: int = 1) -> None:
        self.now_s = 0.0
        self.models = models
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.open_connections = 0
        self.until_s = until_s
        size = int(until_s) + 2
        self.count = Count([0] * size, [0] * size)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def at(self, when_s: float, event: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (max(when_s, self.now_s), self._number, event))

    def run(self) -> None:
        events = self._events
        while events and events[0][0] <= self.until_s:
            self.now_s, _, event = heapq.heappop(events)
            event()

    def connect(self) -> Reply | None:
        for model in self.models:
            reply = model.connect(self.open_connections)
            if reply is not None:
                return reply
        self.open_connections += 1
        return None

    def offer(self, connection: Connection, mail: Mail) -> Reply | None:
        offered = Offered(self.now_s, connection, mail.recipient)
        for model in self.models:
            reply = model.offer(offered)
            if reply is not None:
                connection.mails += 1
                if reply.phase != "rcpt" or "Grey" not in reply.text:
                    self.count.refused[int(self.now_s)] += 1
                return reply
        connection.mails += 1
        self.count.taken[int(self.now_s)] += 1
        self.count.waits.append((self.now_s, self.now_s - mail.arrived_s))
        return None


class Sender:
    """One process: a queue, connections, a pace. Mails arrive evenly while it runs.

    Fresh mails and those that wait for another try take turns.
    """

    def __init__(
        self,
        world: World,
        *,
        offered_per_s: float,
        bounds: PaceBounds | None = None,
        starts_s: float = 0.0,
        ends_s: float = float("inf"),
        answer_s: float = 0.01,
        connect_s: float = 0.03,
        learned: Learned | None = None,
    ) -> None:
        self.world = world
        self.bounds = bounds or PaceBounds()
        self.pace = RelayPace(self.bounds, now_s=starts_s)
        if learned is not None:
            self.pace.adopt(learned, starts_s, is_hint=False)
        self._offered = offered_per_s
        self._starts_s, self._ends_s = starts_s, ends_s
        self._answer_s, self._connect_s = answer_s, connect_s
        self._arrived = 0
        self._turn = False
        self._waiting: deque[Mail] = deque()
        self._idle: list[Connection] = []
        self._connections = 0
        self._retry_connect_s = 0.0
        self._wakes_at_s = float("inf")
        self._outages = 0
        self._is_trying = False
        self._paused_until_s = 0.0
        self.taken = 0
        self.offers: list[float] = []
        world.at(starts_s, self._pump)

    def _next_mail(self) -> Mail | None:
        arrives_s = self._starts_s + self._arrived / self._offered
        is_fresh = arrives_s <= self.world.now_s
        self._turn = not self._turn
        if self._waiting and (self._turn or not is_fresh):
            return self._waiting.popleft()
        if not is_fresh:
            self._wake(arrives_s)
            return None
        self._arrived += 1
        return Mail(arrives_s, self.world.random.randrange(10**9))

    def _wake(self, at_s: float) -> None:
        if at_s >= self._wakes_at_s - 1e-9:
            return
        self._wakes_at_s = at_s

        def wake() -> None:
            if self._wakes_at_s == at_s:
                self._wakes_at_s = float("inf")
                self._pump()

        self.world.at(at_s + self.world.random.random() * 0.0005, wake)

    def _pump(self) -> None:
        now_s = self.world.now_s
        if now_s >= self._ends_s:
            self._close_all()
            return
        if now_s < self._paused_until_s:
            self._wake(self._paused_until_s)
            return
        while not self._is_trying:
            connection = self._connection()
            if connection is None:
                return
            if not self.pace.is_open and not self.pace.take(now_s):
                self._idle.append(connection)
                self._wake(now_s + min(60.0, max(1e-4, self.pace.wait_s(now_s))))
                return
            mail = self._next_mail()
            if mail is None:
                if not self.pace.is_open:
                    self.pace.give_back(now_s)
                self._idle.append(connection)
                return
            self._send(connection, mail)

    def _connection(self) -> Connection | None:
        now_s = self.world.now_s
        while self._idle:
            connection = self._idle.pop()
            if (
                connection.mails < self.pace.mails_per_connection
                and self._connections <= self.pace.connections
            ):
                return connection
            self._drop()
            self.pace.connection_closed(now_s, mails=connection.mails, by_relay=False)
        if self._connections < self.pace.connections and now_s >= self._retry_connect_s:
            self._connections += 1
            self.world.at(now_s + self._connect_s, self._connected)
        return None

    def _connected(self) -> None:
        reply = self.world.connect()
        if reply is not None:
            self._connections -= 1
            self.pace.connection_refused(self.world.now_s, connections_open=self._connections)
            self.world.count.refused[int(self.world.now_s)] += 1
            if not self._connections:
                self._retry_connect_s = self.world.now_s + 1.0
                self._wake(self._retry_connect_s)
            self._pump()
            return
        self._idle.append(Connection())
        self._pump()

    def _drop(self) -> None:
        self._connections -= 1
        self.world.open_connections -= 1

    def _close_all(self) -> None:
        while self._idle:
            self._idle.pop()
            self._drop()

    def _send(self, connection: Connection, mail: Mail) -> None:
        self._is_trying = self._outages > 0
        began_s = self.world.now_s
        self.offers.append(began_s)

        def answered() -> None:
            self._answered(connection, mail, began_s)

        self.world.at(began_s + self._answer_s * (0.9 + 0.2 * self.world.random.random()), answered)

    def _answered(self, connection: Connection, mail: Mail, began_s: float) -> None:
        now_s = self.world.now_s
        self._is_trying = False
        reply = self.world.offer(connection, mail)
        if reply is None:
            self.taken += 1
            self._outages = 0
            self.pace.accepted(now_s)
            self._idle.append(connection)
        else:
            self._refused(connection, mail, began_s, reply)
        self._pump()

    def _refused(self, connection: Connection, mail: Mail, began_s: float, reply: Reply) -> None:
        now_s = self.world.now_s
        mail.refusals += 1
        found = classify(reply.code, reply.enhanced, reply.phase, reply.text)
        if found.blames_relay:
            self._pause(connection, mail)
            return
        verdict = self.pace.refused(
            now_s,
            Refusal(
                RefusalKind.of(found, reply.phase),
                began_at_s=began_s,
                mails_on_connection=connection.mails - 1,
                connections_open=self._connections,
                closes=reply.closes,
                recipient=mail.recipient,
            ),
        )
        if reply.closes:
            self._drop()
        else:
            self._idle.append(connection)
        if verdict is Verdict.MAIL:
            pause_s = 10.0 if found is ReplyClass.GREYLISTED else min(10.0, 2.0**mail.refusals / 2)
            self.world.at(now_s + pause_s, lambda: self._again(mail))
        elif verdict is Verdict.CONNECTION:
            self._waiting.appendleft(mail)
        else:
            pause_s = min(10.0, 0.25 * 2.0**mail.refusals)
            self.world.at(now_s + pause_s, lambda: self._again(mail))

    def _pause(self, connection: Connection, mail: Mail) -> None:
        """As the breaker does at a used up allowance; what is under way comes back here, too."""
        now_s = self.world.now_s
        self._idle.append(connection)
        self._waiting.appendleft(mail)
        if now_s >= self._paused_until_s:
            self._outages += 1
            steps_s = Backoff().quota_steps_s
            self._paused_until_s = now_s + steps_s[min(self._outages, len(steps_s)) - 1]

    def _again(self, mail: Mail) -> None:
        self._waiting.appendleft(mail)
        self._pump()
