"""What a sender's /metrics says of its breakers."""

from collections.abc import Iterable, Mapping
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from mailtopic_runtime import get_logger

_BREAKER: Final = "mailtopic_breaker_open"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=3.0)
_MOST_BYTES: Final = 1_048_576


class HttpSenderMetrics:
    """`SenderMetrics` by HTTP; made in the event loop that it is used in.

    An answer that is slow, larger than a mebibyte or something else is none.
    """

    def __init__(self) -> None:
        self._log = get_logger(__name__)
        # Pods come and go: a connection is kept for none of them.
        connector = aiohttp.TCPConnector(force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)

    async def close(self) -> None:
        """Close what is open."""
        await self._session.close()

    async def breakers(self, host: str, port: int) -> Mapping[str, bool] | None:
        """Tell by relay whether the breaker of one sender is open; None: it didn't tell."""
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
            return open_breakers(content.decode().splitlines())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self._log.debug("sender.silent", host=host, problem=type(error).__name__)
            return None


def open_breakers(lines: Iterable[str]) -> dict[str, bool]:
    """Return by relay whether its breaker is open, of lines in Prometheus' text format.

    Raises:
        ValueError: a line about breakers is in another format.
    """
    wanted = "\n".join(line for line in lines if line.startswith(f"{_BREAKER}{{")) + "\n"
    try:
        families = list(text_string_to_metric_families(wanted))
    except (ValueError, IndexError):
        raise ValueError("a line about breakers is no sample") from None
    return {
        sample.labels["relay"]: sample.value > 0
        for family in families
        for sample in family.samples
        if "relay" in sample.labels
    }
