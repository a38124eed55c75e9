"""The shipped fake of the `Mailer` port: scripted results, and what was sent."""

import asyncio
from collections import deque
from collections.abc import Iterable

from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import (
    ALWAYS,
    DeliveryResult,
    Offeror,
    OutgoingMail,
    Permit,
    Withdrawn,
)

ACCEPTED = DeliveryResult(ReplyClass.ACCEPTED, relay="memory", phase="body", smtp="250 2.0.0")


class MemoryMailer:
    """A `Mailer` without a network.

    Results come from `script`, in order, whatever the mail; from `by_address` for one recipient,
    in order; and are `ACCEPTED` when both have none left. A result that blames the relay makes
    the mailer unavailable until `recover` is called, unless `stays_available`.

    Attributes:
        sent: every mail handed in, in order, whatever became of it.
        accepted: those that ended as ACCEPTED.
        gate: `send` waits while it is cleared; set from the start.
        shares: what `set_share` was told, in order.
    """

    def __init__(
        self, script: Iterable[DeliveryResult] = (), *, stays_available: bool = False
    ) -> None:
        self.sent: list[OutgoingMail] = []
        self.accepted: list[OutgoingMail] = []
        self.shares: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._script = deque(script)
        self._by_address: dict[str, deque[DeliveryResult]] = {}
        self._stays_available = stays_available
        self._available = asyncio.Event()
        self._available.set()

    def script(self, *results: DeliveryResult, address: str | None = None) -> None:
        """Append results, for every mail or for the recipient with this normalised address."""
        target = self._script if address is None else self._by_address.setdefault(address, deque())
        target.extend(results)

    @property
    def is_available(self) -> bool:
        """Whether no result blamed the relay since the last `recover`."""
        return self._available.is_set()

    def recover(self) -> None:
        """Make the relay available again."""
        self._available.set()

    async def start(self) -> None:
        """Nothing to get ready."""

    def set_share(self, share: float) -> None:
        """Note the share."""
        self.shares.append(share)

    async def send(
        self,
        mail: OutgoingMail,
        *,
        permit: Permit = ALWAYS,
        earlier: DeliveryResult | None = None,
    ) -> DeliveryResult:
        """Keep the mail and return the next scripted result."""
        del earlier
        if not permit.holds:
            raise Withdrawn
        await self.gate.wait()
        self.sent.append(mail)
        results = self._by_address.get(mail.recipient.normalised) or self._script
        result = results.popleft() if results else ACCEPTED
        if result.reply_class is ReplyClass.ACCEPTED:
            self.accepted.append(mail)
        if result.reply_class.blames_relay and not self._stays_available:
            self._available.clear()
        return result

    def offer(self, mail: OutgoingMail, offeror: Offeror) -> bool:
        """Take a mail for which nothing is scripted, while `gate` is set."""
        is_scripted = self._script or self._by_address.get(mail.recipient.normalised)
        if is_scripted or not self.is_available or not self.gate.is_set():
            return False
        asyncio.get_running_loop().call_soon(self._take, mail, offeror)
        return True

    def _take(self, mail: OutgoingMail, offeror: Offeror) -> None:
        if not offeror.is_wanted() or not self.gate.is_set():
            offeror.told(None)
            return
        self.sent.append(mail)
        self.accepted.append(mail)
        offeror.told(ACCEPTED)

    async def wait_available(self) -> None:
        """Return once available."""
        await self._available.wait()

    async def close(self) -> None:
        """Nothing to close."""
