"""Which relay gets a mail: the first that takes it soon, then the next."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.relays.port import Offer
from mailtopic_sender.mail_ports import DeliveryResult

if TYPE_CHECKING:
    from mailtopic_sender.engine.relays.channel import Channel

PATIENCE_S = 5.0
"""A mail goes to the next relay rather than wait longer than this for its turn."""
_MUCH_SOONER = 0.5
_DISTRUST = frozenset({ReplyClass.REPUTATION, ReplyClass.SENDER})
_NEVER_TRIED = DeliveryResult(
    ReplyClass.TRANSPORT, relay="", phase="connect", detail="no relay may be tried now"
)


class RelayOrder:
    """Takes mails that a relay won't accept, or not soon, and finds another relay for them.

    A mail goes to the next relay when one can't be used, when its pace would delay the mail for
    long, when it doesn't support a non-ASCII address, and once when it distrusts the sender:
    another relay has another reputation. All else, an unknown fate above all, is left to the
    caller.

    Attributes:
        channels: the relays in order of preference; set once, before the first mail.
        available: set while a relay may be tried.
    """

    def __init__(self) -> None:
        self.channels: Sequence[Channel] = ()
        self.available = asyncio.Event()
        self.available.set()

    def decided(self, offer: Offer, result: DeliveryResult, by: "Channel") -> None:
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
        untried = [channel for channel in self.channels if channel.name not in offer.tried]
        following = best(untried) if untried else None
        if following is not None and following.admits:
            following.put(offer)
            return
        if following is not None:
            offer.blamed = following.refusal or offer.blamed
        offer.ticket.told(verdict(offer))

    def move(self, offer: Offer, wait_s: float, away: "Channel") -> bool:
        """Move a mail to another relay if that takes it much sooner than in wait_s seconds."""
        others = [each for each in self.channels if each is not away and each.admits]
        if wait_s <= PATIENCE_S or not others:
            return False
        other = min(others, key=lambda each: each.wait_s)
        if other.name in offer.tried or other.wait_s > wait_s * _MUCH_SOONER:
            return False
        other.put(offer)
        return True

    def note_change(self) -> None:
        """Check whether any relay may be tried."""
        if any(channel.admits for channel in self.channels):
            self.available.set()
        else:
            self.available.clear()


def best(channels: Sequence["Channel"]) -> "Channel":
    """Return the first that takes a mail soon, else the one that takes it soonest."""
    if len(channels) == 1:
        return channels[0]
    for channel in channels:
        if channel.admits and channel.wait_s <= PATIENCE_S:
            return channel
    return min(channels, key=lambda channel: (not channel.admits, channel.wait_s))


def verdict(offer: Offer) -> DeliveryResult:
    """Return the result of a mail that no relay has accepted."""
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
