"""Runs `mailtopic-sender check` as a separate program and reads its findings."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from mailtopic_runtime import Finding

_PROGRAM = ("-m", "mailtopic_sender", "check", "--json")
_STOP_S = 5.0


class SenderCheck:
    """One run, in the environment of this process.

    Attributes:
        summary: what was checked: from_domain, relays, dkim_domain, dkim_keys, ok; empty until the
            run has come to its end.
        exit_code: of the program, when it has ended; 2 for a setting that can't be used, of which
            the program has written one line to standard error.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.summary: dict[str, Any] = {}
        self.exit_code = 0
        self._arguments = arguments

    async def findings(self) -> AsyncIterator[Finding]:
        """Run it; yield each finding as it arrives. Cancelling ends the program."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *_PROGRAM,
            *self._arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            if process.stdout is not None:
                async for line in process.stdout:
                    document = json.loads(line)
                    if "step" in document:
                        yield Finding.from_document(document)
                    else:
                        self.summary = document
            self.exit_code = await process.wait()
        finally:
            if process.returncode is None:
                await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
