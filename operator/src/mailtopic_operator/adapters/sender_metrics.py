"""The state of relays from a sender's /metrics."""

import math
from collections.abc import Iterable, Mapping
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from mailtopic_operator.domain.observed import RelayReading
from mailtopic_runtime import get_logger

_BREAKER: Final = "mailtopic_breaker_open"
_LEARNED: Final = "mailtopic_relay_learned_mails_per_second"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=3.0)
_MOST_BYTES: Final = 1_048_576


class HttpSenderMetrics:
    """`SenderMetrics` by HTTP; create it in the event loop that uses it.

    A slow or malformed answer, or one larger than a mebibyte, counts as none.
    """

    def __init__(self) -> None:
        self._log = get_logger(__name__)
        # Pods come and go, so no connection is kept open.
        connector = aiohttp.TCPConnector(force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    async def relays(self, host: str, port: int) -> Mapping[str, RelayReading] | None:
        """See `SenderMetrics.relays`."""
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{port}/metrics"
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status != 200:  # noqa: PLR2004 - OK
                    return None
                content = b""
                async for part in answer.content.iter_any():
                    content += part
                    if len(content) > _MOST_BYTES:
                        return None
            return relay_readings(content.decode().splitlines())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self._log.debug("sender.silent", host=host, problem=type(error).__name__)
            return None


def relay_readings(lines: Iterable[str]) -> dict[str, RelayReading]:
    """Return each relay's reading from lines in Prometheus' text format.

    Raises:
        ValueError: a line about relays has another format.
    """
    starts = (f"{_BREAKER}{{", f"{_LEARNED}{{")
    wanted = "\n".join(line for line in lines if line.startswith(starts)) + "\n"
    try:
        families = list(text_string_to_metric_families(wanted))
    except (ValueError, IndexError):
        raise ValueError("a line about relays is no sample") from None
    values = {
        (sample.name, sample.labels["relay"]): sample.value
        for family in families
        for sample in family.samples
        if "relay" in sample.labels
    }
    return {
        relay: RelayReading(value > 0, _rate(values.get((_LEARNED, relay))))
        for (name, relay), value in values.items()
        if name == _BREAKER
    }


def _rate(value: float | None) -> float | None:
    return value if value is not None and 0 < value < math.inf else None
