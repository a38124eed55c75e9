"""One relay as the engine sees it: its waiting mails, its breaker, and its pace."""

import sys

from mailtopic_runtime import Clock, StateLog, get_logger
from mailtopic_sender.domain.pace import (
    Learned,
    PaceBounds,
    Refusal,
    RefusalKind,
    RelayPace,
    Verdict,
)
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.relays.backoff import Backoff
from mailtopic_sender.engine.relays.breaker import BreakerState, RelayBreaker
from mailtopic_sender.engine.relays.order import PATIENCE_S, RelayOrder
from mailtopic_sender.engine.relays.paced_queue import PacedQueue
from mailtopic_sender.engine.relays.patience import Patience
from mailtopic_sender.engine.relays.port import Offer, Place, Relay
from mailtopic_sender.engine.relays.state import LearnedLog, RelayState
from mailtopic_sender.mail_ports import DeliveryResult

_MOST_CLOSINGS = 20
"""Consecutive connections that may end for unrelated reasons."""


class Channel:
    """Feeds one relay: a `Feed` that gives it mails when breaker and pace allow.

    A mail that waits holds no connection and no task. It has many methods because it has three
    sides, the mailer's, the queue's and the relay's, which share one breaker and one pace.
    """

    def __init__(
        self,
        relay: Relay,
        *,
        clock: Clock,
        backoff: Backoff,
        patience: Patience,
        others: RelayOrder,
    ) -> None:
        """Attach to the relay; nothing is opened yet.

        Args:
            relay: takes the mails.
            clock: its monotonic time is used.
            backoff: the pauses between probes while the relay can't be used.
            patience: how mails that were refused for pace wait.
            others: takes the mails that this relay has finished with.
        """
        self.name = relay.name
        self._relay = relay
        self._clock = clock
        self._patience = patience
        self._others = others
        limits = relay.limits
        self._rate_per_s = limits.rate_per_s
        self._pace = RelayPace(
            PaceBounds(limits.rate_per_s, limits.connections, limits.mails_per_connection),
            now_s=clock.monotonic_s(),
        )
        self._limits = self._bounds = (limits.connections, limits.mails_per_connection)
        self._queue = PacedQueue(self._pace, self, rate_per_s=limits.rate_per_s, clock=clock)
        self._replies = dict.fromkeys(ReplyClass, 0)
        self._failed_openings = 0
        self._is_closed = False
        self._log = get_logger("mailtopic_sender.relays")
        self._learning = LearnedLog(relay.name)
        self._breaker = RelayBreaker(
            self._probe,
            state_log=StateLog(self._log.bind(relay=relay.name), "relay"),
            clock=clock,
            backoff=backoff,
            on_change=self._note_change,
            sleep=relay.pause,
        )
        relay.attach(self)

    # --- for the mailer ------------------------------------------------------------------------

    @property
    def admits(self) -> bool:
        """Whether a mail may be tried now."""
        return self._breaker.admits and not self._is_closed

    @property
    def wait_s(self) -> float:
        """About how long a new mail would wait for its turn, seconds; may be infinite."""
        return self._queue.wait_s()

    @property
    def refusal(self) -> DeliveryResult | None:
        """Why no mail may be tried; None if nothing is known against the relay."""
        return self._breaker.last_answer

    @property
    def state(self) -> RelayState:
        """The state for metrics and logs; thread-safe."""
        return RelayState(
            self.name,
            self._rate_per_s,
            self._breaker.state,
            self._relay.connections,
            self._replies.copy(),
            self._pace.learned,
            len(self._queue),
            self._relay.login_problem,
            self._queue.next_turn_s,
        )

    def set_share(self, share: float) -> None:
        """Set this process's share of the relay's rate, 0 to 1."""
        self._queue.set_share(share)
        self._breaker.set_share(share)

    def adopt(self, learned: Learned, *, is_hint: bool) -> None:
        """Continue from what was learned about the relay elsewhere; see `RelayPace.adopt`."""
        self._pace.adopt(learned, self._clock.monotonic_s(), is_hint=is_hint)
        self._follow_pace()

    async def check(self) -> None:
        """Probe, so that a relay that can't be used is known before the first mail."""
        refused = await self._probe()
        if refused is not None:
            self._breaker.trip(refused)

    def put(self, offer: Offer) -> None:
        """Queue a mail; the relay isn't woken before this has returned."""
        offer.offered_at_s = self._clock.monotonic_s()
        offer.refusals = offer.closings = 0
        self._queue.put(offer)

    def recall(self) -> None:
        """Notify the tickets of all waiting mails that aren't wanted any more."""
        self._queue.recall()

    async def close(self) -> None:
        """Stop probing, close the connections, and notify waiting mails that the relay is gone."""
        self._is_closed = True
        await self._breaker.stop()
        self._queue.close()
        await self._relay.close()
        closing = DeliveryResult(
            ReplyClass.TRANSPORT, self.name, "connect", detail="the sender is closing"
        )
        for offer in self._queue.take_all():
            offer.ticket.told(closing)

    # --- for the queue -------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """See `Gatekeeper.room`: while the breaker tries one mail, it is one."""
        if self._is_closed or not self._breaker.admits:
            return 0
        return sys.maxsize if self._breaker.state is BreakerState.CLOSED else 1

    def wake(self, mails: int) -> None:
        """See `Gatekeeper.wake`."""
        self._relay.wake(mails)

    def look_around(self) -> None:
        """See `Gatekeeper.look_around`."""
        self._learning.show(self._pace.learned, self._clock.monotonic_s())
        if len(self._others.channels) > 1:
            self._queue.move_late(
                PATIENCE_S, lambda offer, wait_s: self._others.move(offer, wait_s, self)
            )

    # --- the feed: for the relay ---------------------------------------------------------------

    @property
    def has_mails(self) -> bool:
        """See `Feed.has_mails`."""
        return len(self._queue) > 0 and self.room > 0

    def pull(self) -> Offer | None:
        """See `Feed.pull`."""
        offer = self._queue.pop()
        if offer is not None:
            offer.admission = self._breaker.enter()
            offer.begun_at_s = self._clock.monotonic_s()
        return offer

    def answered(self, offer: Offer, result: DeliveryResult, place: Place) -> None:
        """See `Feed.answered`."""
        now_s = self._clock.monotonic_s()
        kind = result.reply_class
        self._replies[kind] += 1
        self._failed_openings = 0
        is_heard = result.phase != "local"  # else nothing was sent to the relay
        self._leave(offer, result if is_heard else None)
        result = self._timed(offer, result, now_s)
        if kind is ReplyClass.ACCEPTED:
            self._pace.accepted(now_s)
            offer.ticket.told(result)
            if self._limits == self._bounds:
                return  # nothing can have changed, and the session pulls the next mail
        elif not is_heard:
            self._pace.give_back(now_s)
            self._others.decided(offer, result, self)
        else:
            self._refused(offer, result, place, now_s)
            self._learning.show(self._pace.learned, now_s)
        self._follow_pace()

    def unheard(self, offer: Offer, result: DeliveryResult, place: Place) -> None:
        """See `Feed.unheard`."""
        now_s = self._clock.monotonic_s()
        is_ended_before = place.is_used and result.phase == "mail"
        if offer.closings >= (_MOST_CLOSINGS if is_ended_before else 1):
            self.answered(offer, result, place)
            return
        self._leave(offer, None)
        if result.reply_class is ReplyClass.THROTTLED:
            self._report(offer, result, place, now_s)
        elif place.number > 1:
            self._pace.connection_closed(now_s, mails=place.number - 1, by_relay=True)
        offer.closings += 1
        self._queue.put_first(offer)
        self._follow_pace()

    def unsent(self, offer: Offer) -> None:
        """See `Feed.unsent`."""
        self._leave(offer, None)
        self._queue.put_first(offer, has_turn=True)
        self._empty_if_down()

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
        # Opening a connection can fail for an unrelated reason: one failure says nothing of the
        # relay.
        if result.reply_class is not ReplyClass.TRANSPORT or self._failed_openings > 1:
            self._breaker.trip(result)
        self._follow_pace()

    def is_full(self, connections: int) -> None:
        """See `Feed.is_full`."""
        self._pace.connection_refused(self._clock.monotonic_s(), connections_open=connections)
        self._follow_pace()

    # --- inside ------------------------------------------------------------------------------

    async def _probe(self) -> DeliveryResult | None:
        try:
            refused = await self._relay.probe()
        except Exception as error:  # noqa: BLE001 - a bug must not keep the breaker open for ever
            self._log.error("relay.bug", relay=self.name, exc_info=error)
            refused = DeliveryResult(
                ReplyClass.TRANSPORT, self.name, "connect", detail="the sender failed to probe it"
            )
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
        if result.reply_class.blames_relay:  # the breaker handles it
            if self._breaker.is_alone(_recipient(offer)):
                # It concerns this recipient alone, so the mail waits where it occupies no slot and
                # no relay.
                result = result._replace(reply_class=ReplyClass.TRANSIENT)
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
        kind = RefusalKind.of(result.reply_class, result.phase)
        return self._pace.refused(
            now_s,
            Refusal(
                # Silence or a lost connection says nothing about the relay's load.
                kind if result.smtp is not None else RefusalKind.MAIL,
                offer.begun_at_s,
                place.number - 1,
                self._open_connections,
                place.has_ended,
                result.retry_after_s or 0.0,
                _recipient(offer),
            ),
        )

    def _leave(self, offer: Offer, result: DeliveryResult | None) -> None:
        if offer.admission is not None:
            self._breaker.leave(offer.admission, result, _recipient(offer))
            offer.admission = None

    def _timed(self, offer: Offer, result: DeliveryResult, now_s: float) -> DeliveryResult:
        # Waiting for the pace isn't waiting for a connection.
        since_s = max(offer.offered_at_s, self._queue.held_back_at_s)
        connect_s = max(0.0, offer.begun_at_s - since_s)
        transmit_s = now_s - offer.begun_at_s
        if result.reply_class is ReplyClass.ACCEPTED:  # `_replace` costs several times as much
            return DeliveryResult(
                ReplyClass.ACCEPTED,
                result.relay,
                result.phase,
                result.smtp,
                connect_s=connect_s,
                transmit_s=transmit_s,
            )
        return result._replace(connect_s=connect_s, transmit_s=transmit_s)

    def _follow_pace(self) -> None:
        """Use the connections that the pace allows, and continue with waiting mails."""
        limits = (self._pace.connections, self._pace.mails_per_connection)
        if limits != self._limits:
            self._limits = limits
            self._relay.limit(connections=limits[0], mails_per_connection=limits[1])
        self._empty_if_down()
        self._queue.wake()

    def _empty_if_down(self) -> None:
        """Hand over what waits during an outage, also what was under way when it began."""
        refusal = self._breaker.last_answer
        if self._breaker.state is BreakerState.OPEN and refusal is not None and not self._is_closed:
            for offer in self._queue.take_all():
                self._others.decided(offer, refusal, self)

    def _note_change(self) -> None:
        self._empty_if_down()
        self._others.note_change()
        self._queue.wake()


def _recipient(offer: Offer) -> int:
    return hash(offer.message.envelope_to)
