"""The production `Mailer`: relays in order, falling back while one can't accept mails."""

import asyncio
from collections.abc import Iterable, Sequence

from mailtopic_runtime import Clock, SystemClock
from mailtopic_runtime.tracing import current_span
from mailtopic_sender.domain.message import MessageComposer
from mailtopic_sender.domain.pace import Learned
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.relays.backoff import Backoff
from mailtopic_sender.engine.relays.channel import Channel
from mailtopic_sender.engine.relays.patience import Patience
from mailtopic_sender.engine.relays.port import Offer, Relay
from mailtopic_sender.engine.relays.state import RelayState
from mailtopic_sender.mail_ports import DeliveryResult, OutgoingMail, Ticket

_NEVER_TRIED = DeliveryResult(
    ReplyClass.TRANSPORT, relay="", phase="connect", detail="no relay may be tried now"
)
_PATIENCE_S = 5.0
"""A mail goes to the next relay rather than wait longer than this for its turn."""
_MUCH_SOONER = 0.5
_DISTRUST = frozenset({ReplyClass.REPUTATION, ReplyClass.SENDER})


class RelayMailer:
    """Sends through relays of any kind, in order of preference.

    It goes to the next relay when one can't be used, when its pace would delay the mail for long,
    when it doesn't support a non-ASCII address, and once when it distrusts the sender: another
    relay has another reputation. All else, an unknown fate above all, is left to the caller.
    """

    def __init__(
        self,
        relays: Iterable[Relay],
        composer: MessageComposer,
        *,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Attach the relays; nothing is opened yet.

        Args:
            relays: in order of preference, at least one, with different names.
            composer: renders the mails.
            clock: lets tests control the time.
            backoff: how often an unavailable relay is probed.
            patience: how mails wait that a relay refused because it got too many.

        Raises:
            ValueError: there is no relay, or two have one name.
        """
        relays = tuple(relays)
        names = [relay.name for relay in relays]
        if not names or len(set(names)) != len(names):
            raise ValueError("relays must be at least one, with different names")
        self._composer = composer
        self._available = asyncio.Event()
        self._available.set()
        self._checks: set[asyncio.Task[None]] = set()
        self._channels = [
            Channel(
                relay,
                clock=clock or SystemClock(),
                backoff=backoff or Backoff(),
                patience=patience or Patience(),
                others=self,
            )
            for relay in relays
        ]

    @property
    def is_available(self) -> bool:
        """Whether a relay may be tried now."""
        return self._available.is_set()

    @property
    def relays(self) -> tuple[RelayState, ...]:
        """The state of each relay, in order; thread-safe."""
        return tuple(channel.state for channel in self._channels)

    async def start(self) -> None:
        """Start probing each relay, without waiting for it."""
        for channel in self._channels:
            check = asyncio.create_task(channel.check(), name=f"check {channel.name}")
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)

    def set_share(self, share: float) -> None:
        """Set this process's share of every relay's rate, 0 to 1."""
        for channel in self._channels:
            channel.set_share(share)

    def adopt(self, relay: str, learned: Learned, *, is_hint: bool) -> None:
        """Continue from what was learned about a relay elsewhere; see `RelayPace.adopt`."""
        for channel in self._channels:
            if channel.name == relay:
                channel.adopt(learned, is_hint=is_hint)

    def offer(self, mail: OutgoingMail, ticket: Ticket, *, is_fresh: bool = True) -> None:
        """See `mailtopic_sender.mail_ports.Mailer.offer`."""
        message = self._composer.compose(
            mail_id=mail.mail_id,
            recipient=mail.recipient,
            purpose=mail.purpose,
            locale=mail.locale,
            variables=mail.variables,
            accepted_at_ms=mail.accepted_at_ms,
        )
        offer = Offer(mail, message, ticket, current_span.get(), is_fresh)
        channel = _best(self._channels)
        if channel.admits:
            channel.put(offer)
            return
        offer.blamed = channel.refusal
        asyncio.get_running_loop().call_soon(ticket.told, _verdict(offer))

    def recall(self) -> None:
        """See `mailtopic_sender.mail_ports.Mailer.recall`."""
        for channel in self._channels:
            channel.recall()

    async def wait_available(self) -> None:
        """Return when a relay may be tried."""
        await self._available.wait()

    async def close(self) -> None:
        """Close every connection, without waiting for mails under way."""
        for check in tuple(self._checks):
            check.cancel()
        await asyncio.gather(*self._checks, return_exceptions=True)
        for channel in self._channels:
            await channel.close()

    def decided(self, offer: Offer, result: DeliveryResult, by: Channel) -> None:
        """Continue with a mail that a relay didn't accept: with another relay, or not at all."""
        kind = result.reply_class
        if kind.blames_relay:
            offer.blamed = result
        elif kind is ReplyClass.THROTTLED:
            offer.throttled = result
        elif _cannot_carry(result) or (offer.declined is None and kind in _DISTRUST):
            offer.declined = result
        else:
            offer.ticket.told(result)
            return
        offer.tried += (by.name,)
        untried = [channel for channel in self._channels if channel.name not in offer.tried]
        following = _best(untried) if untried else None
        if following is not None and following.admits:
            following.put(offer)
            return
        if following is not None:
            offer.blamed = following.refusal or offer.blamed
        offer.ticket.told(_verdict(offer))

    def move(self, offer: Offer, wait_s: float, away: Channel) -> bool:
        """Move a mail to another relay if that takes it much sooner than in wait_s seconds."""
        others = [each for each in self._channels if each is not away and each.admits]
        if wait_s <= _PATIENCE_S or not others:
            return False
        other = min(others, key=lambda each: each.wait_s)
        if other.name in offer.tried or other.wait_s > wait_s * _MUCH_SOONER:
            return False
        other.put(offer)
        return True

    def look_around(self, channel: Channel) -> None:
        """Move mails that would wait for long at a relay."""
        if len(self._channels) > 1:
            channel.move_late(_PATIENCE_S)

    def note_change(self) -> None:
        """Check whether any relay may be tried."""
        if any(channel.admits for channel in self._channels):
            self._available.set()
        else:
            self._available.clear()


def _best(channels: Sequence[Channel]) -> Channel:
    """The first that takes a mail soon, else the one that takes it soonest."""
    if len(channels) == 1:
        return channels[0]
    for channel in channels:
        if channel.admits and channel.wait_s <= _PATIENCE_S:
            return channel
    return min(channels, key=lambda channel: (not channel.admits, channel.wait_s))


def _verdict(offer: Offer) -> DeliveryResult:
    """The result of a mail that no relay has accepted."""
    if offer.throttled is not None:
        return offer.throttled
    if offer.declined is None:
        return offer.blamed or _NEVER_TRIED
    if offer.blamed is None:
        return offer.declined
    # The relay that might have accepted it is down. Not a result that blames it, or the caller
    # would retry at once, because the relay that declined is available.
    return offer.declined._replace(reply_class=ReplyClass.TRANSIENT)


def _cannot_carry(result: DeliveryResult) -> bool:
    return result.phase == "local" and result.reply_class is ReplyClass.CONTENT
