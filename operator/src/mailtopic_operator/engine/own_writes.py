"""The operator's own writes of late: how often the same one was made, and what came of it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from mailtopic_operator.domain.actions import Action, write_id
from mailtopic_operator.domain.children.family import APPLIED
from mailtopic_operator.domain.drift import as_admitted, first_difference
from mailtopic_operator.domain.field_sets import Path
from mailtopic_operator.domain.observed import Admitted, ChildRef
from mailtopic_operator.engine.store import Json, Key

_WINDOW: Final = timedelta(minutes=10)
_FREE: Final = 3
"""How often the same write may be made in the window without a delay."""
_FIRST_DELAY: Final = timedelta(seconds=30)


class OwnWrites:
    """Slows down a fight: a write that another writer undoes each time is repeated less often.

    The delay before the next one doubles with each of the last ten minutes: there are about five in
    that time. Kept in memory only: after a restart, a fight takes a few more writes.
    """

    def __init__(self) -> None:
        self._times: dict[Key, dict[str, list[datetime]]] = {}
        self._admitted: dict[Key, dict[ChildRef, Admitted]] = {}

    def wrote(self, key: Key, action: Action, now: datetime) -> None:
        """Count a write that succeeded."""
        name = write_id(action)
        if name is None:
            return
        self._times.setdefault(key, {}).setdefault(name, []).append(now)

    def held(self, key: Key, now: datetime) -> Mapping[str, datetime]:
        """Return until when writes aren't repeated, by `write_id`."""
        known = self._times.get(key)
        if known is None:
            return {}
        recent = {
            name: left
            for name, times in known.items()
            if (left := [each for each in times if now - each < _WINDOW])
        }
        self._times[key] = recent
        return {
            name: times[-1] + _FIRST_DELAY * 2 ** (len(times) - _FREE)
            for name, times in recent.items()
            if len(times) >= _FREE
        }

    def returned(self, key: Key, manifest: Json, applied: Json) -> Path | None:
        """Remember a child as admission changed it; return the first change that is news."""
        ref = ChildRef.of(manifest)
        known = self._admitted.setdefault(key, {})
        path = first_difference(manifest, applied)
        before = known.pop(ref, None)
        if path is None:
            return None
        stamp = manifest["metadata"]["annotations"][APPLIED]
        known[ref] = Admitted(stamp, as_admitted(manifest, applied))
        return None if before == known[ref] else path

    def admitted(self, key: Key) -> Mapping[ChildRef, Admitted]:
        """Return the children that admission changed."""
        return self._admitted.get(key, {})

    def forget(self, key: Key) -> None:
        """Forget a deleted resource."""
        self._times.pop(key, None)
        self._admitted.pop(key, None)
