"""Writes Events in the background, merging those of one kind about one resource."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mailtopic_operator.domain.actions import Event
from mailtopic_operator.domain.findings import listing
from mailtopic_operator.ports import Resources

_WRITERS: Final = 2
_SHOWN: Final = 3


@dataclass(slots=True)
class _Pending:
    resource: Mapping[str, Any]
    event: Event
    action: str
    messages: dict[str, dict[str, None]] = field(default_factory=dict)
    """The `about` values of each message, in order of arrival."""


class EventRecorder:
    """Accepts Events at once and writes them in the background: callers never wait.

    Events with the same reason about the same resource that arrive before the first of them is
    written are merged. Events not yet written when the process ends are lost.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._arrived = asyncio.Event()
        self._writing = 0

    def record(self, resource: Mapping[str, Any], event: Event, action: str) -> None:
        """Accept an Event about a resource."""
        key = (str(resource["metadata"]["uid"]), event.reason)
        pending = self._pending.setdefault(key, _Pending(resource, event, action))
        abouts = pending.messages.setdefault(event.message, {})
        if event.about:
            abouts[event.about] = None
        self._arrived.set()

    async def write(self) -> None:
        """Write accepted Events until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_WRITERS):
                tasks.create_task(self._write())

    async def flush(self, timeout_s: float) -> None:
        """Wait until all are written, at most timeout_s seconds."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while self._pending or self._writing:
            if asyncio.get_running_loop().time() > deadline_s:
                return
            await asyncio.sleep(0.02)

    async def _write(self) -> None:
        while True:
            while not self._pending:
                self._arrived.clear()
                await self._arrived.wait()
            first = next(iter(self._pending))
            pending = self._pending.pop(first)
            self._writing += 1
            try:
                await self._resources.emit(pending.resource, _merged(pending), pending.action)
            finally:
                self._writing -= 1


def _merged(pending: _Pending) -> Event:
    messages = [
        f"{listing(abouts)}: {message}" if abouts else message
        for message, abouts in pending.messages.items()
    ]
    shown = "; ".join(messages[:_SHOWN])
    more = len(messages) - _SHOWN
    text = f"{shown}; and {more} more" if more > 0 else shown
    return Event(pending.event.type, pending.event.reason, text)
