"""A publisher for each topic: a topic that Kafka rejects holds up no other topic's mails."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from mailtopic_signup.ports import DatabaseUnavailable, OutboxStore
from mailtopic_signup.publisher import Publisher


class Publishers:
    """Runs the publishers of all topics that have mails or may get some.

    Topics that aren't configured are found by their mails: everything in the outbox is published,
    even after a token was removed.

    Args:
        make: makes the publisher of a topic.
        outbox: where mails wait.
        topics: those that mails may be sent to; the first is the service's own.
        poll_s: seconds between two checks for other topics.
    """

    def __init__(
        self,
        make: Callable[[str], Publisher],
        outbox: OutboxStore,
        *,
        topics: Iterable[str],
        poll_s: float,
    ) -> None:
        self._make = make
        self._outbox = outbox
        self._poll_s = poll_s
        self._publishers = {topic: make(topic) for topic in topics}
        self._stopping = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """Why mails can't be published just now, in words; None while all can."""
        problems = {topic: each.problem for topic, each in self._publishers.items()}
        said = [f"{topic}: {problem}" for topic, problem in problems.items() if problem]
        return said[0] if said else None

    def wake(self, topic: str) -> None:
        """Signal that there is something new in the outbox for a topic."""
        publisher = self._publishers.get(topic)
        if publisher:
            publisher.wake()

    def stop(self) -> None:
        """Let `run` end after the mails in flight."""
        self._stopping.set()
        for publisher in self._publishers.values():
            publisher.stop()

    async def run(self) -> None:
        """Publish until stopped. If cancelled, it gives back its leases."""
        async with asyncio.TaskGroup() as group:
            for publisher in self._publishers.values():
                group.create_task(publisher.run())
            while not self._stopping.is_set():
                for topic in await self._found():
                    self._publishers[topic] = self._make(topic)
                    group.create_task(self._publishers[topic].run())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._poll_s)

    async def _found(self) -> list[str]:
        try:
            waiting = await self._outbox.topics()
        except DatabaseUnavailable:  # reported where it was found
            return []
        if self._stopping.is_set():
            return []
        return [topic for topic in waiting if topic not in self._publishers]
