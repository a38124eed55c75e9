"""Makes a folder and a volume for each claim, and removes both with the claim."""

import logging
import shutil
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any

from .api import Api, ApiError
from .volumes import is_ours, is_to_be_deleted, volume_for, wants_volume
from .watching import Watched

_log = logging.getLogger(__name__)

_RETRY_S = 2
_VOLUMES = "/api/v1/persistentvolumes"


class VolumeAgent:
    """Serves the storage class `standard`.

    Args:
        api: the API server.
        folder: where the volumes' folders are made.
    """

    def __init__(self, api: Api, folder: Path) -> None:
        self._api = api
        self._folder = folder
        self._changed = threading.Event()
        self._claims = Watched(api, "/api/v1/persistentvolumeclaims", self._changed.set)
        self._volumes = Watched(api, _VOLUMES, self._changed.set)

    @property
    def watched(self) -> list[Watched]:
        """What must be followed, each in a thread."""
        return [self._claims, self._volumes]

    def keep(self) -> None:
        """Serve for ever; what the API server refuses is tried again a little later."""
        self._folder.mkdir(exist_ok=True)
        for watched in self.watched:
            watched.wait_until_listed()
        is_due_again = False
        while True:
            self._changed.wait(_RETRY_S if is_due_again else None)
            self._changed.clear()
            is_due_again = False
            for change, item in self._due():
                try:
                    change(item)
                except (ApiError, OSError) as error:
                    name = item["metadata"]["name"]
                    _log.warning("%s: trying again after %s", name, error)
                    is_due_again = True

    def _due(self) -> list[tuple[Any, dict[str, Any]]]:
        volumes = self._volumes.snapshot()
        made = {volume["metadata"]["name"] for volume in volumes}
        claims = [
            claim
            for claim in self._claims.snapshot()
            if wants_volume(claim) and f"pvc-{claim['metadata']['uid']}" not in made
        ]
        return [
            *((self._make, claim) for claim in claims),
            *((self._delete, volume) for volume in volumes if is_to_be_deleted(volume)),
        ]

    def _make(self, claim: dict[str, Any]) -> None:
        volume = volume_for(claim, self._folder)
        Path(volume["spec"]["local"]["path"]).mkdir(exist_ok=True)
        try:
            self._api.request("POST", _VOLUMES, volume)
        except ApiError as error:
            # Made before, and the watch has not told yet.
            if error.status != HTTPStatus.CONFLICT:
                raise
        else:
            _log.info("made %s", volume["metadata"]["name"])

    def _delete(self, volume: dict[str, Any]) -> None:
        assert is_ours(volume)
        name = volume["metadata"]["name"]
        folder = Path(volume["spec"]["local"]["path"])
        if folder.parent == self._folder and folder.exists():
            shutil.rmtree(folder)
        try:
            self._api.request("DELETE", f"{_VOLUMES}/{name}")
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        else:
            _log.info("deleted %s", name)
