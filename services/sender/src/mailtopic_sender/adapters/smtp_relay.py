"""Mails that may go at once, over as many sessions of one relay as they can keep busy."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mailtopic_runtime import Clock, get_logger
from mailtopic_sender.adapters.smtp_opening import SessionRefused
from mailtopic_sender.adapters.smtp_pool import SmtpPool
from mailtopic_sender.adapters.smtp_session import Answer, SmtpSession
from mailtopic_sender.domain.message import Message
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import Offeror


@dataclass(slots=True)
class Offer:
    """A message that waits for a session, or is under way on one.

    Attributes:
        offered_at_s: when it was handed in, monotonic seconds.
        begun_at_s: when a session took it.
    """

    message: Message
    offeror: Offeror
    offered_at_s: float
    begun_at_s: float = 0.0


class SmtpStreams:
    """Sends offers in the order in which they came, with one task a session and none a mail.

    It doesn't judge answers. An offer that can't be begun is told None.
    """

    def __init__(
        self,
        pool: SmtpPool,
        *,
        clock: Clock,
        may_send: Callable[[], bool],
        answered: Callable[[Offer, Answer], None],
    ) -> None:
        """Start without a session.

        Args:
            pool: lends the sessions. Who waits there for one gets it before the next offer.
            clock: tells how long an offer waited.
            may_send: whether the relay takes mails now, without a limit on how many.
            answered: hears each answer, and tells the offeror.
        """
        self._pool = pool
        self._clock = clock
        self._may_send = may_send
        self.answered = answered
        self._offers: deque[Offer] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._starting = 0
        self._log = get_logger("mailtopic_sender.smtp")

    def put(self, offer: Offer) -> None:
        """Take an offer, and see that there is a session for it if the relay bears one more."""
        self._offers.append(offer)
        if self._starting < len(self._offers) and len(self._workers) < self._pool.limit:
            self._starting += 1
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    def hand_back(self) -> None:
        """Tell the offeror of each mail that hasn't begun to go on without us."""
        offers, self._offers = self._offers, deque()
        for offer in offers:
            offer.offeror.told(None)

    async def close(self) -> None:
        """End the tasks; offers that are under way are told nothing any more."""
        self._offers.clear()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self) -> None:
        is_starting = True
        try:
            while self._offers:
                try:
                    session = await self._pool.acquire(streaming=True)
                finally:
                    self._starting -= is_starting
                    is_starting = False
                await self._stream(session)
        except SessionRefused:
            self.hand_back()
        except Exception as error:  # noqa: BLE001 - the offerors know what to do about a bug
            self._log.error("smtp.bug", exc_info=error)
            self.hand_back()
        finally:
            self._starting -= is_starting

    async def _stream(self, session: SmtpSession) -> None:
        run = _Run(self, session)
        try:
            await session.stream(run)
        except Exception as error:  # noqa: BLE001 - a bug must cost one mail, not the relay
            self._log.error("smtp.bug", exc_info=error)
            for offer in list(run.under_way.values()):
                answer = Answer(ReplyClass.UNKNOWN, "body", problem="the sender failed on it")
                self.answered(offer, answer)
        finally:
            self._pool.release(session)

    def next_for(self, session: SmtpSession) -> Offer | None:
        """Return the next offer that is still wanted; None if the session shall pause."""
        while self._offers:
            if not self._may_send():
                self.hand_back()
            elif self._pool.wants_back(session):
                break
            else:
                offer = self._offers.popleft()
                if offer.offeror.is_wanted():
                    offer.begun_at_s = self._clock.monotonic_s()
                    return offer
                offer.offeror.told(None)
        return None


class _Run:
    """One session's turn at the offers: its `MessageSource`."""

    def __init__(self, streams: SmtpStreams, session: SmtpSession) -> None:
        self._streams = streams
        self._session = session
        self.under_way: dict[int, Offer] = {}

    def pull(self) -> Message | None:
        offer = self._streams.next_for(self._session)
        if offer is None:
            return None
        self.under_way[id(offer.message)] = offer
        return offer.message

    def answered(self, message: Message, answer: Answer | None) -> None:
        offer = self.under_way.pop(id(message))
        if answer is None:
            offer.offeror.told(None)
        else:
            self._streams.answered(offer, answer)
