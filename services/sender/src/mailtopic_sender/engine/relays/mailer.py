"""The production `Mailer`: relays in order, falling back while one can't accept mails."""

import asyncio
from collections.abc import Iterable

from mailtopic_runtime import Clock, SystemClock
from mailtopic_runtime.tracing import current_span
from mailtopic_sender.domain.message import MessageComposer
from mailtopic_sender.domain.pace import Learned
from mailtopic_sender.engine.relays.backoff import Backoff
from mailtopic_sender.engine.relays.channel import Channel
from mailtopic_sender.engine.relays.order import RelayOrder, best, verdict
from mailtopic_sender.engine.relays.patience import Patience
from mailtopic_sender.engine.relays.port import Offer, Relay
from mailtopic_sender.engine.relays.state import RelayState
from mailtopic_sender.mail_ports import OutgoingMail, Ticket


class RelayMailer:
    """Sends through relays of any kind; which one gets a mail is decided in `RelayOrder`."""

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
        self._order = RelayOrder()
        self._checks: set[asyncio.Task[None]] = set()
        self._channels = [
            Channel(
                relay,
                clock=clock or SystemClock(),
                backoff=backoff or Backoff(),
                patience=patience or Patience(),
                others=self._order,
            )
            for relay in relays
        ]
        self._order.channels = self._channels

    @property
    def is_available(self) -> bool:
        """Whether a relay may be tried now."""
        return self._order.available.is_set()

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
        channel = best(self._channels)
        if channel.admits:
            channel.put(offer)
            return
        offer.blamed = channel.refusal
        asyncio.get_running_loop().call_soon(ticket.told, verdict(offer))

    def recall(self) -> None:
        """See `mailtopic_sender.mail_ports.Mailer.recall`."""
        for channel in self._channels:
            channel.recall()

    async def wait_available(self) -> None:
        """Return when a relay may be tried."""
        await self._order.available.wait()

    async def close(self) -> None:
        """Close every connection, without waiting for mails under way."""
        for check in tuple(self._checks):
            check.cancel()
        await asyncio.gather(*self._checks, return_exceptions=True)
        for channel in self._channels:
            await channel.close()
