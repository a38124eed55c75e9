"""The ports that a trial opens: a small HTTP server stands for kubectl and what is behind it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailtopic_cli.cluster.errors import ClusterError
from mailtopic_cli.cluster.trial.forwards import Forward, answers
from mailtopic_cli.cluster.trial.ports import HOST, Ports
from support.conditions import until
from support.ports import free_ports

SERVER = """
import http.server, os, pathlib, sys
pathlib.Path(sys.argv[2]).write_text(str(os.getpid()))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(503)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
async def forward(tmp_path: Path) -> AsyncIterator[tuple[Forward, Path, list[str]]]:
    """A forward that runs, where its program wrote its pid, and what it said."""
    said: list[str] = []
    port, pid_file = free_ports(1)[0], tmp_path / "pid"
    command = [sys.executable, "-c", SERVER, str(port), str(pid_file)]
    forward = Forward("the inbox", command, port, said.append)
    keeping = asyncio.create_task(forward.keep())
    yield forward, pid_file, said
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping


async def test_a_forward_whose_program_ends_is_started_again(
    forward: tuple[Forward, Path, list[str]],
) -> None:
    running, pid_file, said = forward
    await asyncio.wait_for(running.is_up.wait(), 30)
    assert said == []
    first = int(pid_file.read_text())
    os.kill(first, signal.SIGKILL)
    await until(lambda: len(said) == 2, "it is gone, and there again")
    assert [line.partition(",")[0] for line in said] == [
        "the inbox is gone",
        "the inbox is there again",
    ]
    assert int(pid_file.read_text()) != first


async def test_a_forward_that_hangs_is_started_again(
    forward: tuple[Forward, Path, list[str]],
) -> None:
    running, pid_file, said = forward
    await asyncio.wait_for(running.is_up.wait(), 30)
    first = int(pid_file.read_text())
    os.kill(first, signal.SIGSTOP)
    await until(lambda: len(said) == 2, "it is gone, and there again", timeout_s=60)
    assert int(pid_file.read_text()) != first


async def test_a_cancelled_forward_leaves_no_program_behind(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-c", SERVER, str(port), str(tmp_path / "pid")]
    forward = Forward("the inbox", command, port, print)
    keeping = asyncio.create_task(forward.keep())
    await asyncio.wait_for(forward.is_up.wait(), 30)
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping
    assert not await answers(port)
    Ports(signup=port, inbox=free_ports(1)[0]).check()


def test_a_port_that_is_taken_is_named_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"^port {port} for the inbox .*--port-base"):
            Ports(signup=free_ports(1)[0], inbox=port).check()
