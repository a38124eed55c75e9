"""The mails in progress here: an outbox may publish one twice, and a replay may race it."""

import asyncio
from uuid import UUID

from mailtopic_sender.engine.flood_gate import FloodGate
from mailtopic_sender.engine.lease import Lease

_LOOK_S = 60.0


class MailsInHand:
    """Lets only one record of a mail be handled at a time; meanwhile it counts in `FloodGate`."""

    def __init__(self, flood: FloodGate) -> None:
        self._flood = flood
        # An event only where a task waits, which is rare. Keyed by the id's number, because a
        # UUID's own hash is a call in Python.
        self._taken: dict[int, asyncio.Event | None] = {}

    def take(self, mail_id: UUID) -> bool:
        """Take a mail; False if another of its records has it. The taker must release it."""
        if mail_id.int in self._taken:
            return False
        self._taken[mail_id.int] = None
        self._flood.begin()
        return True

    async def wait(self, mail_id: UUID, lease: Lease) -> None:
        """Take a mail as soon as it is free.

        Raises:
            Abandoned: the lease ended first.
        """
        while not self.take(mail_id):
            released = self._taken[mail_id.int] or asyncio.Event()
            self._taken[mail_id.int] = released
            await lease.wait(released.wait(), timeout_s=_LOOK_S)

    def release(self, mail_id: UUID) -> None:
        """Let the next record of the mail be handled."""
        self._flood.end()
        released = self._taken.pop(mail_id.int)
        if released is not None:
            released.set()
