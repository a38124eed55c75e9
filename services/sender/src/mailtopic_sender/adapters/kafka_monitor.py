"""Whether a broker answers: the one voice about Kafka in the sender's log."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient

from mailtopic_runtime import StateLog, get_logger

_WHILE_UP_S = 3.0
_WHILE_DOWN_S = 0.5
_ANSWER_S = 5.0


class KafkaMonitor:
    """Asks a broker for its cluster every few seconds and logs each change in one line."""

    def __init__(self, client_kwargs: Mapping[str, Any]) -> None:
        servers = client_kwargs["bootstrap_servers"]
        self._servers = servers if isinstance(servers, str) else ",".join(servers)
        self._client_kwargs = {**client_kwargs, "client_id": "mailtopic-sender-monitor"}
        self._state = StateLog(get_logger(__name__).bind(servers=self._servers), "broker")
        self._admin: AIOKafkaAdminClient | None = None

    @property
    def answers(self) -> bool:
        """Whether a broker answered when it was last asked."""
        return self._state.is_up

    @property
    def problem(self) -> str | None:
        """What is the matter, in words; None while a broker answers."""
        if self._state.is_up:
            return None
        return f"Kafka at {self._servers}: {self._state.reason or 'not asked yet'}"

    async def watch(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                await self._ask()
                await asyncio.sleep(_WHILE_UP_S if self._state.is_up else _WHILE_DOWN_S)
        finally:
            await self._hang_up()

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                if self._admin is None:
                    self._admin = AIOKafkaAdminClient(**self._client_kwargs)
                    await self._admin.start()
                await self._admin.describe_cluster()
        except (errors.AuthenticationFailedError, errors.SaslAuthenticationFailed):
            self._state.down("the broker refuses the login")
        except (errors.KafkaError, OSError, TimeoutError):
            self._state.down("no broker answers")
        else:
            self._state.up()
            return
        await self._hang_up()

    async def _hang_up(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(errors.KafkaError, OSError):
                await admin.close()


def silence_client_logs(level: str) -> None:
    """Keep the Kafka libraries' own lines out of the log, except at debug level.

    They write several lines a second while a broker is away, some with tracebacks. Their own
    debug lines never show: those hold whole responses, records and all.
    """
    is_debug = level == "debug"
    logging.getLogger("aiokafka").setLevel(logging.INFO if is_debug else logging.CRITICAL + 1)
    logging.getLogger("mailtopic_client").setLevel(logging.INFO if is_debug else logging.ERROR)
