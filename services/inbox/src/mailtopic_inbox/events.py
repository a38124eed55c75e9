"""Events about mails for any number of pages (Server-Sent Events).

A page that reads too slowly loses old events, never the newest: each event makes a page reload
the whole list.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

_BACKLOG = 64
KEEP_ALIVE_S = 15.0


class EventFeed:
    """Passes each published event to all current listeners."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[str | None]] = set()

    def publish(self, event: Mapping[str, Any]) -> None:
        """Send one event, as JSON, to every listener. Never blocks."""
        text = f"data: {json.dumps(event)}\n\n"
        for listener in self._listeners:
            _put(listener, text)

    def close(self) -> None:
        """End every stream, so that the server can stop."""
        for listener in self._listeners:
            _put(listener, None)

    async def stream(self) -> AsyncIterator[str]:
        """Yield the text of a Server-Sent Events stream until the feed closes."""
        listener: asyncio.Queue[str | None] = asyncio.Queue(_BACKLOG)
        self._listeners.add(listener)
        try:
            yield ": connected\n\n"
            while True:
                try:
                    text = await asyncio.wait_for(listener.get(), KEEP_ALIVE_S)
                except TimeoutError:
                    text = ": still here\n\n"
                if text is None:
                    return
                yield text
        finally:
            self._listeners.discard(listener)


def _put(listener: "asyncio.Queue[str | None]", text: str | None) -> None:
    if listener.full():
        listener.get_nowait()
    listener.put_nowait(text)
