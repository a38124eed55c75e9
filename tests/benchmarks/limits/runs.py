"""One run: a sender, a relay, an even load; and many runs beside each other."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass

from benchmarks.limits.journal import Found, address
from benchmarks.limits.relays import relay_of
from benchmarks.limits.senders import BullMq, Kind, Place, Sender
from benchmarks.limits.trials import Trial

_TICK_S = 0.01


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one sender beside one relay.

    Attributes:
        offered: mails given ÷ mails that were to be given: less than 1 if the machine was too busy.
        given_up: mails that the sender won't try again.
    """

    trial: str
    kind: str
    found: Found
    offered: float
    given_up: int

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


async def run(trial: Trial, kind: Kind, place: Place, starting: asyncio.Lock) -> Run | None:
    """Let a sender learn, then measure it; None if there is no such sender for the trial.

    `starting` is held meanwhile: many that start at once would take the processors from others.
    """
    relay = relay_of(trial, place.directory)
    sender = kind.makes(place, relay, trial)
    if sender is None:
        return None
    async with AsyncExitStack() as stack:
        async with starting:
            stack.push_async_callback(relay.kill)
            await relay.start()
            stack.push_async_callback(sender.kill)
            await sender.start()
        await asyncio.sleep(trial.quiet_s)
        began_s = time.time()
        given = await _feed(sender, trial)
    found = relay.journal().found(
        began_s=began_s + trial.learning_s,
        until_s=began_s + trial.lasts_s,
        limit_per_s=trial.scenario.limit_per_s,
    )
    wanted = trial.scenario.offered_per_s * trial.lasts_s
    given_up = sender.given_up if isinstance(sender, BullMq) else 0
    return Run(trial.name, kind.name, found, given / wanted, given_up)


async def _feed(sender: Sender, trial: Trial) -> int:
    """Give mails at an even rate until the trial ends; return how many the sender took."""
    began_s = time.monotonic()
    begun = given = 0

    async def give(recipient: str) -> None:
        nonlocal given
        await sender.give(recipient)
        given += 1

    giving: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as tasks:
        while (passed_s := time.monotonic() - began_s) < trial.lasts_s:
            due = int(passed_s * trial.scenario.offered_per_s) + 1
            now_s = time.time()
            for number in range(begun, due):
                task = tasks.create_task(give(address(number, now_s)))
                giving.add(task)
                task.add_done_callback(giving.discard)
            begun = due
            await asyncio.sleep(_TICK_S)
        for task in giving:
            task.cancel()
    return given


class Room:
    """Lets runs begin as long as all that run offer no more than so many mails a second.

    One that is larger than all of the room runs alone.
    """

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._used = 0.0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def of(self, per_s: float) -> AsyncIterator[None]:
        """Take a part of it."""
        part = min(per_s, self._per_s)
        async with self._changed:
            await self._changed.wait_for(lambda: self._used + part <= self._per_s)
            self._used += part
        try:
            yield
        finally:
            async with self._changed:
                self._used -= part
                self._changed.notify_all()


def ordered(trials: Sequence[Trial]) -> list[Trial]:
    """Return the longest first, so that the end isn't one long run alone."""
    return sorted(trials, key=lambda trial: (-trial.lasts_s, -trial.scenario.offered_per_s))
