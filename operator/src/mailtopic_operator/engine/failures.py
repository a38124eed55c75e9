"""Failures of the last attempts, by resource and target, until an attempt succeeds."""

from mailtopic_operator.domain.observed import Failure, KubeProblemKind
from mailtopic_operator.engine.store import Key
from mailtopic_operator.errors import (
    KubeConflict,
    KubeError,
    KubeForbidden,
    KubeNotFound,
    KubeUnavailable,
)


class Failures:
    """Kept in memory only: after a restart, the next attempt fails in the same way."""

    def __init__(self) -> None:
        self._of: dict[Key, dict[str, Failure]] = {}

    def of(self, key: Key) -> tuple[Failure, ...]:
        """Return a resource's current failures."""
        return tuple(self._of.get(key, {}).values())

    def failed(self, key: Key, failure: Failure) -> None:
        """Keep the last attempt's failure."""
        self._of.setdefault(key, {})[failure.target] = failure

    def succeeded(self, key: Key, target: str) -> None:
        """Forget the failure of a target that has now succeeded."""
        of_key = self._of.get(key)
        if of_key is not None:
            of_key.pop(target, None)
            if not of_key:
                del self._of[key]

    def keep_only(self, key: Key, targets: set[str]) -> None:
        """Forget failures of targets that aren't attempted any more."""
        for failure in self.of(key):
            if failure.target not in targets:
                self.succeeded(key, failure.target)

    def forget(self, key: Key) -> None:
        """Forget a deleted resource."""
        self._of.pop(key, None)


def kube_failure(target: str, error: KubeError) -> Failure:
    """Return the Failure for an error of the API server."""
    kind = KubeProblemKind.REFUSED
    if isinstance(error, KubeUnavailable | KubeConflict):
        kind = KubeProblemKind.UNAVAILABLE
    elif isinstance(error, KubeForbidden | KubeNotFound):
        # A kind that isn't served is for the cluster's owner to fix, like a missing right.
        kind = KubeProblemKind.FORBIDDEN
    return Failure(target, kind, str(error))
