"""Which of several replicas acts: the one that holds the Lease and is sure that it still does."""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from mailtopic_operator.errors import KubeConflict, KubeError, KubeNotFound, LeadershipLost
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_operator.ports import Json, Leases
from mailtopic_runtime import Clock, get_logger

_DEADLINE: Final = 2 / 3
"""The fraction of the lease's duration after which a leader that can't renew it stops acting.

The rest is for requests in flight and for clocks that run at different speeds: another replica
waits for the whole duration.
"""


class Leadership:
    """Acquires the Lease when it is free, and keeps it.

    A holder counts as gone if its lease wasn't renewed for the lease's duration, measured by our
    own clock from when we saw the last renewal: the machines' clocks need not agree.

    Args:
        leases: the Lease.
        identity: this replica's name; it must be unique.
        duration_s: how long a lease is valid without a renewal.
        renew_s: how often it is renewed, and polled by waiting replicas.
    """

    def __init__(
        self,
        leases: Leases,
        *,
        identity: str,
        duration_s: float,
        renew_s: float,
        clock: Clock,
        metrics: OperatorMetrics,
    ) -> None:
        self._leases = leases
        self._identity = identity
        self._duration_s = duration_s
        self._renew_s = renew_s
        self._clock = clock
        self._metrics = metrics
        self._renewed_s: float | None = None
        self._seen: tuple[Any, float] | None = None
        self._log = get_logger(__name__)

    @property
    def is_held(self) -> bool:
        """Whether this replica may act now."""
        renewed_s = self._renewed_s
        if renewed_s is None:
            return False
        return self._clock.monotonic_s() - renewed_s < self._duration_s * _DEADLINE

    def check(self) -> None:
        """Return if this replica may act now.

        Raises:
            LeadershipLost: it may not.
        """
        if not self.is_held:
            raise LeadershipLost("the lease was not renewed in time")

    async def acquire(self) -> None:
        """Return when this replica leads."""
        while not await self._try():  # noqa: ASYNC110 - the lease can only be polled
            await asyncio.sleep(self._renew_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
        self._metrics.is_leader.set(1)
        self._metrics.leader_changes.inc()
        self._log.info("leader.began", identity=self._identity)

    async def keep(self) -> None:
        """Renew the lease until that fails for too long.

        Raises:
            LeadershipLost: no further action is allowed.
        """
        while True:
            await asyncio.sleep(self._renew_s)
            left_s = self._left_s()
            try:
                async with asyncio.timeout(max(left_s, 0.0)):
                    renewed = await self._try()
            except TimeoutError:
                renewed = False
            if not renewed and not self.is_held:
                self._metrics.is_leader.set(0)
                self._log.error("leader.lost", identity=self._identity)
                raise LeadershipLost("the lease was not renewed in time")

    async def release(self) -> None:
        """Give up the lease, so that another replica need not wait for its expiry."""
        if self._renewed_s is None:
            return
        self._renewed_s = None
        self._metrics.is_leader.set(0)
        try:
            lease = await self._leases.read()
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._leases.replace(lease)
        except KubeError as error:
            self._log.warning("leader.not_released", problem=str(error))

    def _left_s(self) -> float:
        deadline_s = (self._renewed_s or 0.0) + self._duration_s * _DEADLINE
        return deadline_s - self._clock.monotonic_s()

    async def _try(self) -> bool:
        """Take or renew the lease; return whether it is ours, False if that is unknown."""
        asked_s = self._clock.monotonic_s()
        try:
            lease = await self._read_or_create()
            if lease is None:
                return False
            spec = lease["spec"]
            if spec.get("holderIdentity") != self._identity or self._renewed_s is None:
                if not self._is_free(spec):
                    self._renewed_s = None
                    return False
                spec |= self._taken(spec)
            spec |= self._renewal()
            await self._leases.replace(lease)
        except KubeConflict:
            return False
        except KubeError as error:
            self._log.warning("lease.unreachable", problem=str(error))
            return False
        self._renewed_s = asked_s
        return True

    async def _read_or_create(self) -> Json | None:
        try:
            return await self._leases.read()
        except KubeNotFound:
            # The replica that creates it takes it in the next step, unless another is faster.
            await self._leases.create({"holderIdentity": "", "leaseTransitions": 0})
            return await self._leases.read()

    def _is_free(self, spec: Mapping[str, Any]) -> bool:
        if not spec.get("holderIdentity"):
            return True
        now_s = self._clock.monotonic_s()
        mark = (spec["holderIdentity"], spec.get("renewTime"))
        if self._seen is None or self._seen[0] != mark:
            self._seen = (mark, now_s)
        return now_s - self._seen[1] > float(spec.get("leaseDurationSeconds") or 0)

    def _taken(self, spec: Mapping[str, Any]) -> Json:
        return {
            "holderIdentity": self._identity,
            "acquireTime": self._now(),
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1,
        }

    def _renewal(self) -> Json:
        return {"renewTime": self._now(), "leaseDurationSeconds": round(self._duration_s)}

    def _now(self) -> str:
        moment = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
