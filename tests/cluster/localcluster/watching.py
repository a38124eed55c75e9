"""What the API server holds, kept up to date by a watch."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from .api import Api, ApiError

_log = logging.getLogger(__name__)

_RETRY_S = 0.5


class Watched:
    """All objects of one kind, followed by a thread of its own.

    Args:
        api: where from.
        path: the collection over all namespaces, like /api/v1/pods.
        on_change: called after each change, in the watching thread.
    """

    def __init__(self, api: Api, path: str, on_change: Callable[[], None]) -> None:
        self._api = api
        self._path = path
        self._on_change = on_change
        self._objects: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._listed = threading.Event()

    def snapshot(self) -> list[dict[str, Any]]:
        """Return the objects as last seen."""
        with self._lock:
            return list(self._objects.values())

    def wait_until_listed(self) -> None:
        """Return when the first list is in."""
        self._listed.wait()

    def follow(self) -> None:
        """Follow for ever; after an interruption everything is listed anew."""
        stop = threading.Event()
        while True:
            try:
                self._follow_once()
            except (ApiError, OSError) as error:
                _log.warning("%s: listing again after %s", self._path, error)
                stop.wait(_RETRY_S)

    def _follow_once(self) -> None:
        listing = self._api.request("GET", self._path)
        with self._lock:
            self._objects = {item["metadata"]["uid"]: item for item in listing["items"]}
        self._on_change()
        self._listed.set()
        for event in self._api.watch(self._path, listing["metadata"]["resourceVersion"]):
            item = event["object"]
            with self._lock:
                if event["type"] == "DELETED":
                    self._objects.pop(item["metadata"]["uid"], None)
                else:
                    self._objects[item["metadata"]["uid"]] = item
            self._on_change()
