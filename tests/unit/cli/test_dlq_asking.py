"""The question before a replay, on a terminal of the test's own."""

import asyncio
import os
import pty
import sys
from collections.abc import Iterator

import pytest

from mailtopic_cli.dlq.replaying import ask_on_terminal


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of standard input's terminal."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        yield ours
    os.close(ours)


@pytest.mark.parametrize(
    ("typed", "answer"), [(b"y\n", True), (b"Yes\n", True), (b"n\n", False), (b"\n", False)]
)
async def test_only_a_yes_is_a_yes(person: int, typed: bytes, answer: bool) -> None:  # noqa: FBT001
    asking = asyncio.create_task(ask_on_terminal("Replay? ", asyncio.Event()))
    os.write(person, typed)
    assert await asking is answer


async def test_ctrl_c_is_a_no_without_an_answer(person: int) -> None:
    del person
    stop = asyncio.Event()
    asking = asyncio.create_task(ask_on_terminal("Replay? ", stop))
    stop.set()
    assert await asking is False
