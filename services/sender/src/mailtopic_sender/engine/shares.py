"""This process's share of the relays' rate limits: partitions owned / total."""

from collections.abc import Callable, Mapping
from functools import partial

WEIGHTS = {"main": 0.8, "retry": 0.2}
"""The weight of each consumer's partitions. Most mails sent are first attempts; retries count too,
or a sender that owns only retry partitions could never send."""


class RateShares:
    """Adds up what the consumers of one process own, without communication.

    Each partition of a group has one owner, so the shares of all processes never add up to more
    than 1, whatever moves when. They add up to less while partitions have no owner: during a
    rebalance, and until a killed member's session has timed out.
    """

    def __init__(
        self, tell: Callable[[float], None], *, weights: Mapping[str, float] = WEIGHTS
    ) -> None:
        """Start with nothing.

        Args:
            tell: called with the process's share, 0 to 1, whenever it changes.
            weights: by consumer; their sum is 1.
        """
        self._tell = tell
        self._weights = weights
        self._owned = dict.fromkeys(weights, 0.0)
        tell(0.0)

    def of(self, consumer: str) -> Callable[[float], None]:
        """Return a callback for a consumer, called with the fraction of its partitions it owns."""
        return partial(self._set, consumer)

    def _set(self, consumer: str, fraction: float) -> None:
        self._owned[consumer] = fraction
        share = sum(self._weights[name] * owned for name, owned in self._owned.items())
        self._tell(min(share, 1.0))
