"""That log lines leave together, in order, and always."""

import asyncio
import io
import subprocess
import sys
import threading

import pytest

from mailtopic_runtime.log_output import LineOutput


class Counting(io.StringIO):
    """Standard output that counts what it is handed."""

    writes = 0

    def write(self, text: str, /) -> int:
        self.writes += 1
        return super().write(text)


def take(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Take standard output; not in a fixture, after which pytest puts its own back."""
    stream = Counting()
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


async def test_lines_of_one_turn_leave_in_one_write_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, output = take(monkeypatch), LineOutput()
    for number in range(100):
        output.write(str(number))
    assert out.writes == 0
    await asyncio.sleep(0)
    assert (out.writes, out.getvalue().split()) == (1, [str(number) for number in range(100)])
    output.write("later")
    await asyncio.sleep(0)
    assert out.getvalue().endswith("99\nlater\n")


def test_without_a_loop_a_line_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    out, output = take(monkeypatch), LineOutput()
    output.write("a")
    output.write("b")
    assert (out.writes, out.getvalue()) == (2, "a\nb\n")


def test_what_a_loop_left_behind_leaves_with_the_next_line(monkeypatch: pytest.MonkeyPatch) -> None:
    out, output = take(monkeypatch), LineOutput()

    async def leave(line: str) -> None:
        output.write(line)

    # A loop that is never run again keeps what it was to call.
    for line in ("a", "b"):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(leave(line))
        loop.close()
    output.write("c")
    assert out.getvalue() == "a\nb\nc\n"


async def test_a_threads_line_leaves_after_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    out, output = take(monkeypatch), LineOutput()
    output.write("a")
    await asyncio.to_thread(output.write, "b")
    assert out.getvalue() == "a\nb\n"


async def test_of_many_threads_and_a_loop_no_line_is_lost_or_torn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, output = take(monkeypatch), LineOutput()

    def write(name: int) -> None:
        for number in range(500):
            output.write(f"{name} {number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in range(1, 5)]
    for thread in threads:
        thread.start()
    for number in range(500):
        output.write(f"0 {number}")
        await asyncio.sleep(0)
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)
    lines = out.getvalue().splitlines()
    for name in range(5):
        own = [line for line in lines if line.startswith(f"{name} ")]
        assert own == [f"{name} {number}" for number in range(500)]
    assert len(lines) == 2500


class Chatty(io.StringIO):
    """Makes a line while one is being written, as the collector of garbage may."""

    def __init__(self, output: LineOutput) -> None:
        super().__init__()
        self.output = output

    def write(self, text: str, /) -> int:
        if "again" not in self.getvalue() + text:
            self.output.write("again")
        return super().write(text)


def test_a_line_made_while_one_is_written_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    output = LineOutput()
    stream = Chatty(output)
    monkeypatch.setattr(sys, "stdout", stream)
    output.write("first")
    assert stream.getvalue() == "first\nagain\n"


def test_an_output_that_takes_ascii_only_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    LineOutput().write("кот")
    assert raw.getvalue() == b"\\u043a\\u043e\\u0442\n"


def test_without_a_reader_lines_are_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    LineOutput().write("unread")


_PROGRAM = """
import asyncio, os, signal, sys
from mailtopic_runtime import LogSettings, configure_logging, flush_logs, get_logger
from mailtopic_runtime import run_program, stop_on_signals
from mailtopic_sender.engine.progress import end_process

async def main():
    stop = stop_on_signals()
    get_logger("mailtopic_example").info("first")
    await asyncio.sleep(0)
    get_logger("mailtopic_example").info("last")
    {end}
    return 0

configure_logging(LogSettings(format="json"))
run_program("example", main)
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("raise RuntimeError", 1),
        ("raise KeyboardInterrupt", 130),
        ("os.kill(os.getpid(), signal.SIGTERM); await stop.wait()", 0),
        ("end_process('it is wedged')", 70),
        ("flush_logs(); os._exit(5)", 5),
        ("await asyncio.sleep(0); os.kill(os.getpid(), signal.SIGKILL)", -9),
    ],
)
def test_however_a_process_ends_its_last_line_is_written(end: str, code: int) -> None:
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", _PROGRAM.format(end=end)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert [line.split('"')[3] for line in ended.stdout.splitlines()] == ["first", "last"]
    assert ended.returncode == code
