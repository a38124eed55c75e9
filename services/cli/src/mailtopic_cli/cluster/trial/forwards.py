"""Port-forwards into the cluster for the duration of the trial."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from mailtopic_cli import tether
from mailtopic_cli.cluster.programs import Report

from .ports import HOST

_PROBE_EVERY_S = 2.0
_PROBE_TIMEOUT_S = 5.0
_AGAIN_AFTER_S = 1.0
_END_TIMEOUT_S = 5.0
# One lost answer may be the pod's fault; kubectl itself notices only failed connections.
_PROBES_IN_VAIN = 2


@dataclass
class Forward:
    """One `kubectl port-forward`, restarted whenever it stops working.

    Attributes:
        name: its target, in words.
        command: the program and its arguments.
        port: the local port; the target must answer HTTP.
        say: receives a line when it is lost and when it is back.
        is_up: set while answers come.
    """

    name: str
    command: Sequence[str]
    port: int
    say: Report
    is_up: asyncio.Event = field(default_factory=asyncio.Event)
    _was_up: bool = False

    async def keep(self) -> None:
        """Run until it is cancelled; then the program has ended."""
        while True:
            process = await asyncio.create_subprocess_exec(
                # It must not outlive this process, and only this process handles Ctrl-C.
                *(sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *self.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                await self._until_lost(process)
            finally:
                await _end(process)
            self._note(is_up=False)
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def _until_lost(self, process: asyncio.subprocess.Process) -> None:
        in_vain = 0
        while in_vain < _PROBES_IN_VAIN:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    process.wait(), _PROBE_EVERY_S if self.is_up.is_set() else 0.2
                )
                return
            if await answers(self.port):
                self._note(is_up=True)
                in_vain = 0
            elif self.is_up.is_set():
                in_vain += 1

    def _note(self, *, is_up: bool) -> None:
        if is_up and not self.is_up.is_set():
            if self._was_up:
                self.say(f"{self.name} is there again")
            self._was_up = True
            self.is_up.set()
        elif not is_up and self.is_up.is_set():
            self.say(f"{self.name} is gone, its pod was replaced perhaps; connecting again")
            self.is_up.clear()


async def answers(port: int) -> bool:
    """Whether an HTTP server answers, whatever it says, on a port of this machine."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                return (await reader.readline()).startswith(b"HTTP/")
            finally:
                writer.close()
    return False


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _END_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
