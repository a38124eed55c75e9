"""`mailtopic up`: the whole pipeline as processes, from a signup to the mail in the inbox."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.conditions import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
DEADLINE_S = 90
COMMAND = [sys.executable, "-m", "mailtopic_cli"]


@dataclass
class Devstack:
    """One `mailtopic up`; `output` grows as it writes."""

    process: asyncio.subprocess.Process
    data_dir: Path
    base: int
    output: list[str] = field(default_factory=list)

    @property
    def run(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.data_dir / "run.json").read_text())
        return document

    def pids(self) -> dict[str, int]:
        return {name: entry["pid"] for name, entry in self.run["processes"].items()}

    async def until(self, pattern: str) -> str:
        """Wait for a line of output that matches."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for line in self.output:
                    if re.search(pattern, line):
                        return line
                assert self.process.returncode is None, "\n".join(self.output)
                await asyncio.sleep(0.05)

    async def read_output(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            self.output.append(line.decode().rstrip("\n"))

    async def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return await asyncio.wait_for(self.process.wait(), DEADLINE_S)


def free_port_base(count: int) -> int:
    """The first of `count` free ports in a row, below those that the system gives away."""
    for base in range(20_000 + os.getpid() % 500 * 20, 32_000, 20):
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for port in range(base, base + count):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return base
    raise AssertionError("no ports in a row are free")


async def start(data_dir: Path, base: int, *options: str) -> asyncio.subprocess.Process:
    command = [*COMMAND, "up", "--data-dir", str(data_dir), "--port-base", str(base), *options]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *command, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )


@asynccontextmanager
async def running(data_dir: Path, *options: str) -> AsyncIterator[Devstack]:
    base = free_port_base(7)
    devstack = Devstack(await start(data_dir, base, *options), data_dir, base)
    reading = asyncio.create_task(devstack.read_output())
    try:
        await devstack.until("MailTopic is ready")
        yield devstack
    finally:
        if devstack.process.returncode is None:
            await devstack.interrupt()
        await reading


async def sign_up_and_read_the_code(devstack: Devstack, address: str) -> str:
    urls = devstack.run["urls"]
    async with httpx.AsyncClient() as client, asyncio.timeout(DEADLINE_S):
        answer = await client.post(f"{urls['signup']}v1/signups", json={"email": address})
        assert answer.status_code == 202, answer.text
        while True:
            listed = (await client.get(f"{urls['inbox']}api/v1/messages")).json()
            for message in listed["messages"]:
                if message["To"][0]["Address"] == address:
                    url = f"{urls['inbox']}api/v1/message/{message['ID']}"
                    text = (await client.get(url)).json()["Text"]
                    code = re.search(r"\b\d{6}\b", text)
                    assert code, text
                    return code.group()
            await asyncio.sleep(0.1)


def is_running(pid: int) -> bool:
    """Whether the process runs; one that ended and awaits its parent does not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


async def run_command(*arguments: str) -> tuple[int, str, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, stdout=pipe, stderr=pipe)
    stdout, stderr = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode is not None
    return process.returncode, stdout.decode(), stderr.decode()


async def test_a_signup_arrives_in_the_inbox_and_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    data_dir = tmp_path / "state"
    async with running(data_dir) as devstack:
        address = f"{uuid.uuid4().hex}@example.com"
        await sign_up_and_read_the_code(devstack, address)

        code, shown, _ = await run_command("status", "--data-dir", str(data_dir), "--json")
        status = json.loads(shown)
        assert code == 0, shown
        assert {p["name"] for p in status["processes"]} == set(devstack.pids())

        code, _, problem = await run_command("up", "--data-dir", str(data_dir))
        assert (code, problem.count("\n")) == (2, 1)
        assert "already runs on" in problem

        pids = devstack.pids()
        assert all(map(is_running, pids.values()))
        assert await devstack.interrupt() == 0
        assert not any(map(is_running, pids.values()))
        assert devstack.output[-1] == "Stopped."
    code, shown, _ = await run_command("status", "--data-dir", str(data_dir))
    assert (code, shown.count("\n")) == (1, 1)
    assert shown.startswith("Nothing runs on")
    logs = "".join(log.read_text() for log in (data_dir / "logs").iterdir())
    assert "Traceback" not in logs
    assert address not in logs
    assert address not in "".join(devstack.output)


async def test_a_sender_that_is_killed_is_started_again_and_mails_go_on(tmp_path: Path) -> None:
    async with running(tmp_path / "state", "--senders", "1") as devstack:
        first = devstack.pids()["sender-1"]
        os.kill(first, signal.SIGKILL)
        await devstack.until(r"sender-1 ended \(killed by SIGKILL.*starting it again")
        await sign_up_and_read_the_code(devstack, "after-a-crash@example.com")
        assert devstack.run["processes"]["sender-1"]["restarts"] == 1
        assert devstack.pids()["sender-1"] != first


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
async def test_killing_the_command_itself_leaves_no_process_and_its_data_can_be_used_again(
    tmp_path: Path,
) -> None:
    data_dir = tmp_path / "state"
    async with running(data_dir, "--senders", "1") as devstack:
        await sign_up_and_read_the_code(devstack, "before@example.com")
        # Killed between the relay's 250 and this, the sender would rightly send it once more.
        log = data_dir / "logs" / "sender-1.log"
        await until(lambda: "mail.accepted" in log.read_text(), "the outcome is recorded")
        pids = devstack.pids().values()
        devstack.process.kill()
        await devstack.process.wait()
        async with asyncio.timeout(DEADLINE_S):
            while any(map(is_running, pids)):  # noqa: ASYNC110 - a grandchild's end has no event
                await asyncio.sleep(0.05)
    async with running(data_dir, "--senders", "1") as devstack:
        async with httpx.AsyncClient() as client:
            listed = (await client.get(f"{devstack.run['urls']['inbox']}api/v1/messages")).json()
        assert [m["To"][0]["Address"] for m in listed["messages"]] == ["before@example.com"]


async def test_a_busy_port_is_one_line_with_the_way_out_and_exit_code_2(tmp_path: Path) -> None:
    base = free_port_base(7)
    with socket.create_server(("127.0.0.1", base + 3)):
        arguments = ["--data-dir", str(tmp_path / "state"), "--port-base", str(base)]
        code, shown, problem = await run_command("up", *arguments)
    assert (code, shown, problem.count("\n")) == (2, "", 1)
    assert f"port {base + 3} for Kafka is in use" in problem
    assert problem.endswith("stop that, or take other ports: --port-base 18080\n")
    assert not (tmp_path / "state" / "kafka").exists()


async def test_a_service_that_cannot_run_stops_everything_with_one_line(tmp_path: Path) -> None:
    data_dir = tmp_path / "state"
    base = free_port_base(7)
    (data_dir / "sealing-keys.json").parent.mkdir()
    (data_dir / "MAILTOPIC_STATE").touch()
    (data_dir / "sealing-keys.json").write_text("not JSON")
    process = await start(data_dir, base)
    stdout, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 1
    last = stdout.decode().splitlines()[-1]
    assert "MAILTOPIC_SEALING__KEYS_FILE" in last
    assert not (data_dir / "run.json").exists()
