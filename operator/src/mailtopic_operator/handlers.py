"""What kopf watches for us, and where it passes events on.

Only event handlers: timers, daemons and change handlers would put a finalizer or annotations on
every MailTopic. What to do about an event is decided elsewhere, from the whole observed state.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import kopf

from mailtopic_operator.kinds import CHILD_SELECTOR, Kind

OnEvent = Callable[[str, str | None, Mapping[str, Any]], None]
"""Called with a kind, the event's type (None: from a list) and the object."""

_SERVER_TIMEOUT_S: Final = 300
_INACTIVITY_S: Final = 90
"""The API server sends a bookmark about every minute; a watch silent for longer is dead."""


class _NoMemory(kopf.DiffBaseStorage):
    """Stores and copies no earlier versions of objects: no diff is ever needed."""

    def build(
        self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None
    ) -> kopf.BodyEssence:
        """Return an empty essence."""
        del body, extra_fields
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> None:
        """Return nothing: nothing was stored."""
        del body

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""


class _Patience:
    """Endless delays between attempts at a request: the API server will come back."""

    def __iter__(self) -> Iterator[float]:
        delays_s = (0.2, 0.5, 1.0, 2.0, 3.0, 5.0)
        yield from delays_s
        while True:
            yield delays_s[-1]


def make_registry(
    kinds: Sequence[Kind],
    on_event: OnEvent,
    login: Callable[..., Any],
) -> kopf.OperatorRegistry:
    """Return handlers that pass on every event of these kinds."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, retries=None)(login)
    for kind in kinds:
        handler = _handler(kind, on_event)
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(handler)
    return registry


def _handler(kind: Kind, on_event: OnEvent) -> Callable[..., Any]:
    async def handle(event: kopf.RawEvent, **_: Any) -> None:
        on_event(kind.kind, event["type"], event["object"])

    return handle


def make_settings(children: Sequence[Kind]) -> kopf.OperatorSettings:
    """Return kopf's settings: retry forever, and watch only our kinds."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    # No scan for new namespaces and CRDs: that would need rights in the whole cluster.
    settings.scanning.disabled = True
    settings.watching.server_timeout = _SERVER_TIMEOUT_S
    settings.watching.client_timeout = _SERVER_TIMEOUT_S + 10
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = _INACTIVITY_S
    settings.watching.reconnect_backoff = 0.5
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = _Patience()
    settings.queueing.idle_timeout = 0.5
    settings.persistence.diffbase_storage = _NoMemory()
    for kind in children:
        settings.watching.label_selectors[kind.group, kind.version, kind.plural] = CHILD_SELECTOR
    return settings
