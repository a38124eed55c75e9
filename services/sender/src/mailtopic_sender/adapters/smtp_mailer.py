"""The `Mailer` of production: relays in order, the next one while one can't take mails."""

import asyncio
import dataclasses
from collections.abc import Sequence

from mailtopic_runtime import Clock, SystemClock
from mailtopic_sender.adapters.smtp_breaker import Backoff
from mailtopic_sender.adapters.smtp_relay_client import RelayClient, RelayState
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.domain.message import MessageComposer
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import DeliveryResult, OutgoingMail

_NEVER_TRIED = DeliveryResult(
    ReplyClass.TRANSPORT, relay="", phase="connect", detail="no relay may be tried now"
)


class SmtpMailer:
    """Sends by SMTP.

    Goes to the next relay when one can't be used, when it can't carry a non-ASCII address, and
    once when it distrusts the sender: another relay has another reputation. Everything else, an
    unknown fate above all, is the caller's decision.
    """

    def __init__(
        self,
        relays: Sequence[RelaySettings],
        composer: MessageComposer,
        *,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """Load certificates; nothing is opened yet.

        Args:
            relays: in order of preference, at least one, with different names.
            composer: renders the mails.
            clock: tests own time by it.
            backoff: how often an unavailable relay is probed.

        Raises:
            SettingError: a CA file can't be used.
            ValueError: there is no relay, or two have one name.
        """
        names = [relay.name for relay in relays]
        if not names or len(set(names)) != len(names):
            raise ValueError("relays must be at least one, with different names")
        self._composer = composer
        self._available = asyncio.Event()
        self._available.set()
        self._checks: set[asyncio.Task[None]] = set()
        self._relays = [
            RelayClient(
                relay,
                clock=clock or SystemClock(),
                backoff=backoff or Backoff(),
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
        """The state of each relay, in order: for metrics and probes."""
        return tuple(relay.state for relay in self._relays)

    async def start(self) -> None:
        """Begin to open a session to each relay, and don't wait for it."""
        for relay in self._relays:
            check = asyncio.create_task(relay.check(), name=f"check {relay.name}")
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)

    async def send(self, mail: OutgoingMail) -> DeliveryResult:
        """Try one mail; see `mailtopic_sender.mail_ports.Mailer`."""
        message = self._composer.compose(
            mail_id=mail.mail_id,
            recipient=mail.recipient,
            purpose=mail.purpose,
            locale=mail.locale,
            variables=mail.variables,
            accepted_at_ms=mail.accepted_at_ms,
        )
        blamed: DeliveryResult | None = None
        declined: DeliveryResult | None = None
        for relay in self._relays:
            result = await relay.attempt(message)
            if result is None or result.reply_class.blames_relay:
                blamed = result or relay.refusal or blamed
            elif _cannot_carry(result) or (
                declined is None and result.reply_class is ReplyClass.REPUTATION
            ):
                declined = result
            else:
                return result
        if declined is None:
            return blamed or _NEVER_TRIED
        if blamed is None:
            return declined
        # The relay that might have taken it is away. Not its blame, or the caller would come back
        # at once, because the one that declined is available.
        return dataclasses.replace(declined, reply_class=ReplyClass.TRANSIENT)

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


def _cannot_carry(result: DeliveryResult) -> bool:
    return result.phase == "local" and result.reply_class is ReplyClass.CONTENT
