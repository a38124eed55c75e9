"""The shipped fake of the `Relay` port: scripted results, and a record of what was sent."""

import asyncio
from collections import deque
from collections.abc import Iterable

from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.relays.port import Connections, Feed, Offer, Place, RelayLimits
from mailtopic_sender.mail_ports import DeliveryResult, OutgoingMail


class MemoryRelay:
    """A `Relay` without a network.

    Results come from `script`, in order, for any mail; from `by_address` for one recipient, in
    order; and are ACCEPTED when both are empty. After a result that blames the relay, its probes
    fail until `recover` is called.

    Attributes:
        sent: every mail that was answered, in order, whatever its result.
        accepted: those with the result ACCEPTED.
        gate: mails under way wait while it is cleared; initially set.
        is_taking: whether available mails are pulled.
    """

    def __init__(
        self,
        script: Iterable[DeliveryResult] = (),
        *,
        name: str = "memory",
        limits: RelayLimits | None = None,
    ) -> None:
        self.name = name
        self.limits = limits or RelayLimits(connections=10_000, mails_per_connection=1_000_000)
        self.sent: list[OutgoingMail] = []
        self.accepted: list[OutgoingMail] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_taking = True
        self._script = deque(script)
        self._by_address: dict[str, deque[DeliveryResult]] = {}
        self._held: dict[str, asyncio.Event] = {}
        self._blame: DeliveryResult | None = None
        self._feed: Feed
        self._is_woken = False
        self._under_way: set[asyncio.Task[None]] = set()

    def script(self, *results: DeliveryResult, address: str | None = None) -> None:
        """Append results, for every mail or for the recipient with this normalised address."""
        target = self._script if address is None else self._by_address.setdefault(address, deque())
        target.extend(results)

    def hold(self, address: str) -> asyncio.Event:
        """Keep mails to this address under way until the event is set."""
        return self._held.setdefault(address, asyncio.Event())

    def recover(self) -> None:
        """Let probes succeed again."""
        self._blame = None

    @property
    def connections(self) -> Connections:
        """One for each mail under way."""
        return Connections(len(self._under_way), 0, self.limits.connections)

    def attach(self, feed: Feed) -> None:
        """See `Relay.attach`."""
        self._feed = feed

    def limit(self, *, connections: int, mails_per_connection: int) -> None:
        """Nothing to limit."""

    def wake(self, mails: int) -> None:
        """Pull in the next turn of the loop."""
        del mails
        if not self._is_woken and self.is_taking:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._pull_all)

    @property
    def login_problem(self) -> str | None:
        """It needs no login."""
        return None

    async def pause(self, pause_s: float) -> None:
        """See `Relay.pause`."""
        await asyncio.sleep(pause_s)

    async def probe(self) -> DeliveryResult | None:
        """Return the last result that blamed the relay, if it came from opening a connection."""
        return self._blame

    async def close(self) -> None:
        """Give up what is under way."""
        self.is_taking = False
        for task in tuple(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _pull_all(self) -> None:
        self._is_woken = False
        while self.is_taking and (offer := self._feed.pull()) is not None:
            held = self._held.get(offer.mail.recipient.normalised)
            if self.gate.is_set() and (held is None or held.is_set()):
                self._answer(offer)
                continue
            task = asyncio.create_task(self._answer_later(offer, held))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _answer_later(self, offer: Offer, held: asyncio.Event | None) -> None:
        await self.gate.wait()
        if held is not None:
            await held.wait()
        self._answer(offer)

    def answer_to(self, mail: OutgoingMail) -> DeliveryResult:
        """Return a mail's result; tests may override it."""
        results = self._by_address.get(mail.recipient.normalised) or self._script
        if results:
            return results.popleft()
        return DeliveryResult(ReplyClass.ACCEPTED, self.name, "body", "250 2.0.0")

    def _answer(self, offer: Offer) -> None:
        self.sent.append(offer.mail)
        result = self.answer_to(offer.mail)
        if result.reply_class is ReplyClass.ACCEPTED:
            self.accepted.append(offer.mail)
        if result.reply_class.blames_relay:
            self._blame = result
        self._feed.answered(offer, result, Place(1))
