"""The `Mailer` of production: relays in order, the next one while one can't take mails."""

import asyncio
from collections.abc import Sequence

from mailtopic_runtime import Clock, SystemClock
from mailtopic_sender.adapters.smtp_breaker import Backoff
from mailtopic_sender.adapters.smtp_relay_client import LONGEST_BRAKE_S, RelayClient, RelayState
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.domain.message import Message, MessageComposer
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import ALWAYS, DeliveryResult, Offeror, OutgoingMail, Permit

_NEVER_TRIED = DeliveryResult(
    ReplyClass.TRANSPORT, relay="", phase="connect", detail="no relay may be tried now"
)
_THROTTLED_TRIES = 3
_PATIENCE_S = 5.0
"""A mail would rather go by the next relay than wait longer than this for its turn."""


class SmtpMailer:
    """Sends by SMTP.

    Goes to the next relay when one can't be used, when it says that we are too fast or its rate
    limit would keep the mail for long, when it can't carry a non-ASCII address, and once when it
    distrusts the sender: another relay has another reputation. Everything else, an unknown fate
    above all, is the caller's decision.
    """

    def __init__(
        self,
        relays: Sequence[RelaySettings],
        composer: MessageComposer,
        *,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        brake_s: float = 10.0,
    ) -> None:
        """Load certificates; nothing is opened yet.

        Args:
            relays: in order of preference, at least one, with different names.
            composer: renders the mails.
            clock: tests own time by it.
            backoff: how often an unavailable relay is probed.
            brake_s: how long a relay is left alone after it said that we are too fast.

        Raises:
            SettingError: a CA file can't be used.
            ValueError: there is no relay, or two have one name.
        """
        names = [relay.name for relay in relays]
        if not names or len(set(names)) != len(names):
            raise ValueError("relays must be at least one, with different names")
        self._composer = composer
        self._clock = clock or SystemClock()
        self._available = asyncio.Event()
        self._available.set()
        self._checks: set[asyncio.Task[None]] = set()
        self._relays = [
            RelayClient(
                relay,
                clock=self._clock,
                backoff=backoff or Backoff(),
                brake_s=brake_s,
                on_change=self._note_change,
            )
            for relay in relays
        ]

    @property
    def is_available(self) -> bool:
        """Whether a relay may be tried now."""
        return self._available.is_set()

    @property
    def relays(self) -> tuple[RelayState, ...]:
        """The state of each relay, in order; any thread may ask."""
        return tuple(relay.state for relay in self._relays)

    async def start(self) -> None:
        """Begin to open a session to each relay, and don't wait for it."""
        for relay in self._relays:
            check = asyncio.create_task(relay.check(), name=f"check {relay.name}")
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)

    def set_share(self, share: float) -> None:
        """Set this process's part of every relay's rate, 0 to 1."""
        for relay in self._relays:
            relay.set_share(share)

    async def send(
        self,
        mail: OutgoingMail,
        *,
        permit: Permit = ALWAYS,
        earlier: DeliveryResult | None = None,
    ) -> DeliveryResult:
        """Try one mail; see `mailtopic_sender.mail_ports.Mailer`."""
        message = self._compose(mail)
        wanted = _UntilExpiry(permit, mail.expires_at_ms, self._clock)
        result = await self._try_relays(message, wanted, earlier)
        for _ in range(_THROTTLED_TRIES - 1):
            asked_s = result.retry_after_s or 0.0
            if result.reply_class is not ReplyClass.THROTTLED or asked_s > LONGEST_BRAKE_S:
                break
            result = await self._try_relays(message, wanted)
        return result

    def offer(self, mail: OutgoingMail, offeror: Offeror) -> bool:
        """Hand a mail to the preferred relay if it is free; see `Mailer.offer`."""
        relay = self._relays[0]
        if not relay.is_free:
            return False
        relay.offer(self._compose(mail), offeror)
        return True

    def _compose(self, mail: OutgoingMail) -> Message:
        return self._composer.compose(
            mail_id=mail.mail_id,
            recipient=mail.recipient,
            purpose=mail.purpose,
            locale=mail.locale,
            variables=mail.variables,
            accepted_at_ms=mail.accepted_at_ms,
        )

    async def _try_relays(
        self, message: Message, permit: "_UntilExpiry", earlier: DeliveryResult | None = None
    ) -> DeliveryResult:
        """Offer a mail to one relay after the other until one has decided."""
        blamed: DeliveryResult | None = None
        declined: DeliveryResult | None = None
        throttled: DeliveryResult | None = None
        untried = list(self._relays)
        while untried:
            if earlier is None:
                relay = _best(untried)
                result = await relay.attempt(message, permit, patience_s=permit.left_s)
            else:
                relay = next(each for each in untried if each.name == earlier.relay)
                result, earlier = earlier._replace(is_final=True), None
            untried.remove(relay)
            if result is None or result.reply_class.blames_relay:
                blamed = result or relay.refusal or blamed
            elif result.reply_class is ReplyClass.THROTTLED:
                throttled = result
            elif _cannot_carry(result) or (
                declined is None and result.reply_class is ReplyClass.REPUTATION
            ):
                declined = result
            else:
                return result
        if throttled is not None:
            return throttled
        if declined is None:
            return blamed or _NEVER_TRIED
        if blamed is None:
            return declined
        # The relay that might have taken it is away. Not its blame, or the caller would come back
        # at once, because the one that declined is available.
        return declined._replace(reply_class=ReplyClass.TRANSIENT)

    async def wait_available(self) -> None:
        """Return when a relay may be tried."""
        await self._available.wait()

    async def close(self) -> None:
        """Close every connection, without waiting for mails under way."""
        for check in tuple(self._checks):
            check.cancel()
        await asyncio.gather(*self._checks, return_exceptions=True)
        for relay in self._relays:
            await relay.close()

    def _note_change(self) -> None:
        if any(relay.admits for relay in self._relays):
            self._available.set()
        else:
            self._available.clear()


class _UntilExpiry:
    """A permit that ends with the mail's use as well."""

    def __init__(self, permit: Permit, expires_at_ms: int, clock: Clock) -> None:
        self._permit = permit
        self._expires_at_ms = expires_at_ms
        self._clock = clock
        self.ended = permit.ended

    @property
    def left_s(self) -> float:
        return max(0.0, (self._expires_at_ms - self._clock.now_ms()) / 1000)

    @property
    def holds(self) -> bool:
        return self._permit.holds and self._clock.now_ms() < self._expires_at_ms


def _best(relays: Sequence[RelayClient]) -> RelayClient:
    """The first that takes a mail soon, else the one that would soonest."""
    for relay in relays:
        if relay.admits and relay.wait_s <= _PATIENCE_S:
            return relay
    return min(relays, key=lambda relay: (not relay.admits, relay.wait_s))


def _cannot_carry(result: DeliveryResult) -> bool:
    return result.phase == "local" and result.reply_class is ReplyClass.CONTENT
