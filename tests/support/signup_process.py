"""mailtopic-signup as a process of its own, to be killed and started again."""

import asyncio
import contextlib
import json
import os
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from mailtopic_contract import KeyRing
from support.conditions import until
from support.ports import free_port
from support.signup_service import PEPPERS

_STOP_TIMEOUT_S = 30


@dataclass
class SignupProcess:
    """One process; its files are in ``folder``, so that processes with one folder share them.

    ``settings`` are more of the service's, without MAILTOPIC_ in front.
    """

    folder: Path
    kafka: str
    topic: str
    port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        return self.folder / f"signup-{self.port}.log"

    async def start(self) -> None:
        settings = {
            "KAFKA__BOOTSTRAP_SERVERS": self.kafka,
            "KAFKA__REQUEST_TIMEOUT_S": "5",
            "TOPIC": self.topic,
            "PEPPER__KEYS_FILE": self._file("peppers.json", json.dumps(PEPPERS)),
            "SEALING__KEYS_FILE": self._file("keys.json", KeyRing.generate().dump()),
            "DATABASE__URL": f"sqlite:///{self.folder}/signup.db",
            "OUTBOX__LEASE_S": "5",
            "HTTP__PORT": str(self.port),
            # All of a test's people are one client.
            "CLIENTS__SIGNUPS_PER_MINUTE": "0",
            "CLIENTS__VERIFIES_PER_FIVE_MINUTES": "0",
            **self.settings,
        }
        script = Path(sysconfig.get_path("scripts")) / "mailtopic-signup"
        with self.log_file.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                script,
                env={**os.environ, **{f"MAILTOPIC_{key}": v for key, v in settings.items()}},
                stdout=log,
                stderr=log,
            )
        await until(self._is_ready, f"{self.log_file} tells of a start", timeout_s=60)

    async def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        process = self._running()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        return await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)

    async def kill(self) -> None:
        """Kill it at once, if it runs."""
        if self.process and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def ready(self) -> dict[str, str]:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.url}/readyz")
        found: dict[str, str] = answer.json()
        return found

    async def has_published_all(self) -> bool:
        """Whether nothing waits in the outbox."""
        async with httpx.AsyncClient() as client:
            metrics = (await client.get(f"{self.url}/metrics")).text
        return "\nmailtopic_outbox_pending 0.0\n" in metrics

    def log_lines(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    async def _is_ready(self) -> bool:
        assert self._running().returncode is None, self.log_file.read_text()
        # While a part isn't there yet, the answer is a line of text and no JSON.
        with contextlib.suppress(httpx.TransportError, json.JSONDecodeError):
            return (await self.ready())["database"] == "ok"
        return False

    def _running(self) -> asyncio.subprocess.Process:
        assert self.process
        return self.process

    def _file(self, name: str, text: str) -> str:
        path = self.folder / name
        if not path.exists():
            path.write_text(text)
        return str(path)
