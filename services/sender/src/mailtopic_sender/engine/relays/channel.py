"""One relay as the engine sees it: the mails that wait for it, its breaker, and its pace."""

import asyncio
from math import inf
from typing import Protocol

from mailtopic_runtime import Clock, StateLog, get_logger
from mailtopic_sender.domain.pace import (
    PaceBounds,
    Refusal,
    RefusalKind,
    RelayPace,
    Verdict,
)
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.relays.breaker import Backoff, Gate, RelayBreaker
from mailtopic_sender.engine.relays.patience import Patience
from mailtopic_sender.engine.relays.port import Offer, Place, Relay
from mailtopic_sender.engine.relays.queue import OfferQueue
from mailtopic_sender.engine.relays.state import LearnedLog, RelayState
from mailtopic_sender.mail_ports import DeliveryResult

_SWEEP_S = 0.25
_QUANTUM_S = 0.004
"""Turns that come within so long are given together: a timer a mail would cost more than it."""
_MOST_AT_ONCE = 64
_MOST_CLOSINGS = 20
"""Connections that may end, one after the other, before the relay heard of a mail."""
_KINDS = {
    ReplyClass.THROTTLED: RefusalKind.PACE,
    ReplyClass.CLOSING: RefusalKind.CLOSING,
    ReplyClass.TRANSIENT: RefusalKind.PASSING,
    ReplyClass.QUOTA: RefusalKind.QUOTA,
}


class Others(Protocol):
    """Where mails go that a relay won't take, or not soon."""

    def decided(self, offer: Offer, result: DeliveryResult, by: "Channel") -> None:
        """Take a mail and its result, which isn't ACCEPTED and which no waiting would better."""
        ...

    def move(self, offer: Offer, wait_s: float, away: "Channel") -> bool:
        """Take a mail that would wait for wait_s seconds, if another relay takes it much sooner."""
        ...

    def look_around(self, channel: "Channel") -> None:
        """Have mails moved that would wait for long; called regularly while mails wait."""
        ...

    def note_change(self) -> None:
        """Look at `admits` again."""
        ...


class Channel:
    """Feeds one relay: a `Feed` that gives it mails when breaker and pace allow.

    A mail that waits holds no connection and no task.
    """

    def __init__(
        self,
        relay: Relay,
        *,
        clock: Clock,
        backoff: Backoff,
        patience: Patience,
        others: "Others",
    ) -> None:
        """Attach to the relay; nothing is opened yet.

        Args:
            relay: takes the mails.
            clock: its monotonic time counts.
            backoff: the pauses between probes while the relay can't be used.
            patience: how mails wait that were refused for pace.
            others: takes the mails with which this relay is done.
        """
        self.name = relay.name
        self._relay = relay
        self._clock = clock
        self._patience = patience
        self._others = others
        limits = relay.limits
        self._rate_per_s = limits.rate_per_s
        self._share = 1.0
        self._pace = RelayPace(
            PaceBounds(limits.rate_per_s, limits.connections, limits.mails_per_connection),
            now_s=clock.monotonic_s(),
        )
        self._limits = (limits.connections, limits.mails_per_connection)
        self._queue = OfferQueue()
        self._replies = dict.fromkeys(ReplyClass, 0)
        self._failed_openings = 0
        self._held_back_at_s = -inf
        self._timer: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False
        log = get_logger("mailtopic_sender.relays")
        self._learning = LearnedLog(relay.name)
        self._breaker = RelayBreaker(
            self._probe,
            state_log=StateLog(log, "relay"),
            clock=clock,
            backoff=backoff,
            on_change=self._note_change,
            relay=relay.name,
        )
        relay.attach(self)

    # --- what the mailer asks ------------------------------------------------------------------

    @property
    def admits(self) -> bool:
        """Whether a mail may be tried now."""
        return self._breaker.admits

    @property
    def wait_s(self) -> float:
        """About how long a mail that came now would wait for its turn, seconds; may be infinite."""
        return self._wait_behind_s(len(self._queue))

    @property
    def refusal(self) -> DeliveryResult | None:
        """Why no mail may be tried; None if nothing is known against the relay."""
        return self._breaker.last_answer

    @property
    def state(self) -> RelayState:
        """What there is to show; any thread may ask."""
        return RelayState(
            self.name,
            self._rate_per_s,
            self._breaker.gate,
            self._relay.connections,
            self._replies.copy(),
            self._pace.learned,
            len(self._queue),
        )

    def set_share(self, share: float) -> None:
        """Set this process's part of the relay's rate, 0 to 1."""
        self._share = share
        self._pace.set_share(share, self._clock.monotonic_s())
        self._wake()

    async def check(self) -> None:
        """Probe, so that a relay that can't be used is known before the first mail."""
        refused = await self._probe()
        if refused is not None:
            self._breaker.trip(refused)

    def put(self, offer: Offer) -> None:
        """Queue a mail; the relay isn't asked before this has returned."""
        offer.offered_at_s = self._clock.monotonic_s()
        offer.refusals = offer.closings = 0
        self._queue.put(offer)
        self._wake()

    def recall(self) -> None:
        """Tell the tickets of all waiting mails that aren't wanted any more."""
        for offer in self._queue.take_if(lambda offer: not offer.ticket.is_wanted()):
            offer.ticket.told(None)

    def move_late(self, patience_s: float) -> None:
        """Have other relays take the mails that will wait for longer than this, seconds."""
        if self.wait_s <= patience_s:
            return
        ahead = -1

        def is_moved(offer: Offer) -> bool:
            nonlocal ahead
            ahead += 1
            wait_s = self._wait_behind_s(ahead)
            return wait_s > patience_s and self._others.move(offer, wait_s, self)

        self._queue.take_if(is_moved)

    async def close(self) -> None:
        """Stop probing, close the connections, and tell what waits that the relay is gone."""
        self._is_closed = True
        await self._breaker.stop()
        for timer in (self._timer, self._sweeper):
            if timer is not None:
                timer.cancel()
        await self._relay.close()
        closing = DeliveryResult(
            ReplyClass.TRANSPORT, self.name, "connect", detail="the sender is closing"
        )
        for offer in self._queue.take_all():
            offer.ticket.told(closing)

    # --- the feed: what the relay asks and reports ----------------------------------------------

    @property
    def has_mails(self) -> bool:
        """See `Feed.has_mails`."""
        return bool(self._queue) and not self._is_closed and self._breaker.admits

    def pull(self) -> Offer | None:
        """See `Feed.pull`."""
        now_s = self._clock.monotonic_s()
        if not self.has_mails or self._queue.due_s() > now_s:
            self._schedule(now_s)
            return None
        if not self._pace.take(now_s):
            self._held_back_at_s = now_s
            self._schedule(now_s)
            return None
        while (offer := self._queue.pop(now_s)) is not None:
            if offer.ticket.is_wanted():
                offer.admission = self._breaker.enter()
                offer.begun_at_s = now_s
                return offer
            offer.ticket.told(None)
        self._pace.give_back(now_s)
        return None

    def answered(self, offer: Offer, result: DeliveryResult, place: Place) -> None:
        """See `Feed.answered`."""
        now_s = self._clock.monotonic_s()
        kind = result.reply_class
        self._replies[kind] += 1
        self._failed_openings = 0
        self._leave(offer, result)
        result = self._timed(offer, result, now_s)
        if kind is ReplyClass.ACCEPTED:
            self._pace.accepted(now_s)
            offer.ticket.told(result)
        else:
            self._refused(offer, result, place, now_s)
        self._follow_pace()

    def unheard(self, offer: Offer, result: DeliveryResult, place: Place) -> None:
        """See `Feed.unheard`."""
        now_s = self._clock.monotonic_s()
        if offer.closings >= (_MOST_CLOSINGS if place.is_used else 1):
            self.answered(offer, result, place)
            return
        self._leave(offer, None)
        self._report(offer, result, place, now_s)
        offer.closings += 1
        self._queue.put_first(offer)
        self._follow_pace()

    def unsent(self, offer: Offer) -> None:
        """See `Feed.unsent`."""
        self._leave(offer, None)
        self._pace.give_back(self._clock.monotonic_s())
        self._queue.put_first(offer)
        self._wake()

    def connected(self) -> None:
        """See `Feed.connected`."""
        self._failed_openings = 0

    def refused(self, result: DeliveryResult) -> None:
        """See `Feed.refused`."""
        self._replies[result.reply_class] += 1
        self._pace.connection_refused(
            self._clock.monotonic_s(), connections_open=self._open_connections
        )
        self._failed_openings += 1
        # A connection can fail to open for a reason of its own: once is no news of the relay.
        if result.reply_class is not ReplyClass.TRANSPORT or self._failed_openings > 1:
            self._breaker.trip(result)
        self._follow_pace()

    def is_full(self, connections: int) -> None:
        """See `Feed.is_full`."""
        self._pace.connection_refused(self._clock.monotonic_s(), connections_open=connections)
        self._follow_pace()

    # --- inside ------------------------------------------------------------------------------

    async def _probe(self) -> DeliveryResult | None:
        refused = await self._relay.probe()
        if refused is not None:
            self._replies[refused.reply_class] += 1
        return refused

    @property
    def _open_connections(self) -> int:
        connections = self._relay.connections
        return connections.busy + connections.idle

    def _refused(self, offer: Offer, result: DeliveryResult, place: Place, now_s: float) -> None:
        if result.reply_class is ReplyClass.UNKNOWN:
            self._pace.accepted(now_s)  # the relay had all of it
            self._others.decided(offer, result, self)
            return
        verdict = self._report(offer, result, place, now_s)
        if result.reply_class is not ReplyClass.THROTTLED:
            self._others.decided(offer, result, self)
            return
        offer.refusals += 1
        offer.own_refusals += verdict is Verdict.MAIL
        if self._patience.is_over(offer, result.retry_after_s):
            self._others.decided(offer, result, self)
            return
        pause_s = self._patience.pause_s(offer.refusals, result.retry_after_s)
        if verdict is Verdict.CONNECTION:
            self._queue.put_first(offer)
        elif not self._others.move(offer, max(pause_s, self.wait_s), self):
            self._queue.put_until(now_s + pause_s, offer)

    def _report(self, offer: Offer, result: DeliveryResult, place: Place, now_s: float) -> Verdict:
        return self._pace.refused(
            now_s,
            Refusal(
                _KINDS.get(result.reply_class, RefusalKind.MAIL),
                offer.begun_at_s,
                place.number - 1,
                self._open_connections,
                place.has_ended,
                result.retry_after_s or 0.0,
                hash(offer.message.envelope_to),
            ),
        )

    def _leave(self, offer: Offer, result: DeliveryResult | None) -> None:
        if offer.admission is not None:
            self._breaker.leave(offer.admission, result)
            offer.admission = None

    def _timed(self, offer: Offer, result: DeliveryResult, now_s: float) -> DeliveryResult:
        # Waiting for the pace isn't waiting for a connection.
        since_s = max(offer.offered_at_s, self._held_back_at_s)
        connect_s = max(0.0, offer.begun_at_s - since_s)
        return result._replace(connect_s=connect_s, transmit_s=now_s - offer.begun_at_s)

    def _wait_behind_s(self, ahead: int) -> float:
        if self._pace.is_open:
            return 0.0
        wait_s = self._pace.wait_s(self._clock.monotonic_s())
        rate_per_s = self._rate_now_per_s
        if ahead and rate_per_s is not None:
            wait_s += ahead / rate_per_s if rate_per_s > 0 else inf
        return wait_s

    @property
    def _rate_now_per_s(self) -> float | None:
        set_per_s = None if self._rate_per_s is None else self._rate_per_s * self._share
        learned_per_s = self._pace.learned.rate_per_s
        known = [each for each in (set_per_s, learned_per_s) if each is not None]
        return min(known, default=None)

    def _follow_pace(self) -> None:
        """Use the connections that the pace allows, and go on with what waits."""
        limits = (self._pace.connections, self._pace.mails_per_connection)
        if limits != self._limits:
            self._limits = limits
            self._relay.limit(connections=limits[0], mails_per_connection=limits[1])
        self._learning.show(self._pace.learned)
        if self._queue:
            self._wake()

    def _wake(self) -> None:
        """Have the relay pull what may go now, and come back for the rest."""
        if not self.has_mails:
            return
        now_s = self._clock.monotonic_s()
        if self._queue.due_s() <= now_s and self._pace.wait_s(now_s) <= 0:
            self._relay.wake(len(self._queue) if self._pace.is_open else self._ready())
        self._schedule(now_s)

    def _ready(self) -> int:
        """About how many mails may go within a moment."""
        rate_per_s = self._rate_now_per_s or 0.0
        most = min(len(self._queue), _MOST_AT_ONCE)
        return max(1, min(most, int(rate_per_s * _QUANTUM_S) + 1))

    def _schedule(self, now_s: float) -> None:
        """Look again when the next mail may go, and regularly whether mails are still wanted."""
        if not self._queue or self._is_closed:
            return
        loop = asyncio.get_running_loop()
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP_S, self._sweep)
        if self._timer is None and self._breaker.admits:
            wait_s = max(self._queue.due_s() - now_s, self._pace.wait_s(now_s))
            if 0 < wait_s < inf:
                self._timer = loop.call_later(max(wait_s, _QUANTUM_S), self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._wake()

    def _sweep(self) -> None:
        self._sweeper = None
        self.recall()
        self._others.look_around(self)
        self._wake()

    def _note_change(self) -> None:
        refusal = self._breaker.last_answer
        if self._breaker.gate is Gate.NONE and refusal is not None:
            for offer in self._queue.take_all():
                self._others.decided(offer, refusal, self)
        self._others.note_change()
        if not self._is_closed:
            self._wake()
