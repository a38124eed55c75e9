"""Which part of the relays' rate limits is this process's: partitions owned / total."""

from collections.abc import Callable, Mapping
from functools import partial

WEIGHTS = {"main": 0.8, "retry": 0.2}
"""How much each consumer's partitions count. First attempts are most of what is sent; retries count
as well, or a sender that owns nothing but retry partitions could never send."""


class RateShares:
    """Adds up what the consumers of one process own, without asking anybody.

    The partitions of a group are owned by one member each, so the shares of all processes never
    add up to more than 1, whatever moves when. They add up to less while partitions are owned by
    nobody: during a rebalance, and until a killed member's session has timed out.
    """

    def __init__(
        self, tell: Callable[[float], None], *, weights: Mapping[str, float] = WEIGHTS
    ) -> None:
        """Start with nothing.

        Args:
            tell: gets the process's share, 0 to 1, whenever it changes.
            weights: of each consumer; their sum is 1.
        """
        self._tell = tell
        self._weights = weights
        self._owned = dict.fromkeys(weights, 0.0)
        tell(0.0)

    def of(self, consumer: str) -> Callable[[float], None]:
        """Return what a consumer calls with the fraction of its partitions that it owns."""
        return partial(self._set, consumer)

    def _set(self, consumer: str, fraction: float) -> None:
        self._owned[consumer] = fraction
        share = sum(self._weights[name] * owned for name, owned in self._owned.items())
        self._tell(min(share, 1.0))
