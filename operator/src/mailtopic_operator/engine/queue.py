"""The queue of resources to reconcile: each once, in batches, with backoff after failures."""

import asyncio
import random
from typing import Final

from mailtopic_operator.engine.store import Key
from mailtopic_runtime import Clock

_BACKOFF_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)


class BatchQueue:
    """A set of resources, each with the time from which it may be taken.

    A taken resource isn't taken again until `done`; if it is added meanwhile, it is taken
    afterwards. So no resource is ever in two batches at once, or twice in one.

    Args:
        clock: decides when a resource is due.
        batch_size: the most resources taken at once.
        linger_s: how long the first of a batch waits for others.
    """

    def __init__(self, clock: Clock, *, batch_size: int, linger_s: float) -> None:
        self._clock = clock
        self._batch_size = batch_size
        self._linger_s = linger_s
        self._due_s: dict[Key, float] = {}
        self._taken: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Count the waiting resources, due or not."""
        return len(self._due_s)

    def add(self, key: Key, *, after_s: float = 0.0) -> None:
        """Have a resource reconciled, at the latest after_s seconds from now."""
        due_s = self._clock.monotonic_s() + after_s
        if due_s < self._due_s.get(key, float("inf")):
            self._due_s[key] = due_s
            self._changed.set()

    def forget(self, key: Key) -> None:
        """Forget a deleted resource."""
        self._due_s.pop(key, None)
        self._failures.pop(key, None)

    def failed(self, key: Key) -> None:
        """Have a resource reconciled again, after a delay that grows with its failures."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_s = _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
        self.add(key, after_s=delay_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret

    def succeeded(self, key: Key) -> None:
        """Forget a resource's failures."""
        self._failures.pop(key, None)

    async def take(self) -> list[Key]:
        """Wait for the next batch and return it, the longest waiting first."""
        while not self._ready():
            await self._wait()
        if self._linger_s and len(self._ready()) < self._batch_size:
            await asyncio.sleep(self._linger_s)
        batch = sorted(self._ready(), key=self._due_s.__getitem__)[: self._batch_size]
        for key in batch:
            del self._due_s[key]
        self._taken.update(batch)
        return batch

    def done(self, batch: list[Key]) -> None:
        """Allow the resources of a batch to be taken again."""
        self._taken.difference_update(batch)
        self._changed.set()

    def _ready(self) -> list[Key]:
        now_s = self._clock.monotonic_s()
        return [
            key for key, due_s in self._due_s.items() if due_s <= now_s and key not in self._taken
        ]

    async def _wait(self) -> None:
        self._changed.clear()
        waiting = [due_s for key, due_s in self._due_s.items() if key not in self._taken]
        timeout_s = min(waiting) - self._clock.monotonic_s() if waiting else None
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return
