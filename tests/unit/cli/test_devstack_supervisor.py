"""A supervised process: started again after each end, given up only when that is pointless."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from mailtopic_cli.devstack.errors import DevstackError
from mailtopic_cli.devstack.run_file import ProcessEntry
from mailtopic_cli.devstack.supervisor import Supervisor


@dataclass
class ScriptedProcess:
    """Ends with each of the exit codes in turn, then runs until it is stopped."""

    exit_codes: Sequence[int]
    starts: int = 0
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    runs: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        return 1000 + self.starts

    async def start(self) -> None:
        self.starts += 1

    async def wait(self) -> int:
        if self.starts <= len(self.exit_codes):
            return self.exit_codes[self.starts - 1]
        self.runs.set()
        await self.stopped.wait()
        return 0

    async def stop(self) -> None:
        self.stopped.set()

    def last_words(self) -> str:
        return "its last words"


@dataclass
class Watched:
    """A supervisor, what it said, and how often its entry changed."""

    process: ScriptedProcess
    said: list[str] = field(default_factory=list)
    entry: ProcessEntry = field(default_factory=lambda: ProcessEntry("x.log", None))
    changes: int = 0

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(
            "sender-1", self.process, self.entry, say=self.said.append, changed=self._changed
        )

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtopic_cli.devstack.supervisor._FIRST_PAUSE_S", 0.001)


async def test_a_process_that_was_killed_is_started_again_with_one_line() -> None:
    watched = Watched(ScriptedProcess([-9]))
    task = asyncio.create_task(watched.supervisor.keep_running())
    async with asyncio.timeout(10):
        await watched.process.runs.wait()
    assert watched.said == [
        "sender-1 ended (killed by SIGKILL, log: x.log); starting it again in 0.001 s"
    ]
    assert (watched.entry.restarts, watched.entry.pid) == (1, 1002)
    await watched.supervisor.stop()
    await task
    assert watched.entry.pid is None


async def test_a_process_with_bad_settings_is_not_started_again() -> None:
    watched = Watched(ScriptedProcess([2]))
    with pytest.raises(DevstackError, match="sender-1 cannot run: its last words"):
        await watched.supervisor.keep_running()
    assert watched.process.starts == 1


async def test_a_process_that_never_becomes_ready_is_given_up() -> None:
    watched = Watched(ScriptedProcess([1] * 20))
    with pytest.raises(DevstackError, match="4 times in a row"):
        await watched.supervisor.keep_running()
    assert watched.process.starts == 4


async def test_a_process_that_was_ready_once_is_never_given_up() -> None:
    watched = Watched(ScriptedProcess([1] * 8))
    watched.supervisor.ready()
    task = asyncio.create_task(watched.supervisor.keep_running())
    async with asyncio.timeout(10):
        await watched.process.runs.wait()
    assert watched.process.starts == 9
    await watched.supervisor.stop()
    await task


async def test_a_process_that_is_stopped_ends_without_a_word() -> None:
    watched = Watched(ScriptedProcess([]))
    task = asyncio.create_task(watched.supervisor.keep_running())
    await watched.process.runs.wait()
    await watched.supervisor.stop()
    await task
    assert watched.said == []
