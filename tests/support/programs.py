"""Run one of the project's programs as a process of its own, as its users do."""

import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 0.05
_STOP_TIMEOUT_S = 60


class ProgramError(Exception):
    """The program ended, or was not ready in time; the text ends with what it wrote."""


@contextmanager
def running(
    program: str, *arguments: str, log: Path, is_ready: Callable[[], bool], timeout_s: float
) -> Iterator[None]:
    """Start a console script and wait until it is ready; end it with SIGTERM.

    Raises:
        ProgramError: it ended early or was not ready in time.
    """
    script = Path(sysconfig.get_path("scripts")) / program
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [script, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        _wait_until_ready(process, log, is_ready, timeout_s)
        yield
    finally:
        _stop(process)


def answers(url: str) -> bool:
    """Whether a GET of a loopback URL is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - a loopback URL
            return bool(response.status == 200)
    except OSError:  # what urllib raises for a refusal, too
        return False


def _wait_until_ready(
    process: "subprocess.Popen[bytes]", log: Path, is_ready: Callable[[], bool], timeout_s: float
) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not is_ready():
        if process.poll() is not None:
            raise ProgramError(f"ended with {process.returncode}: {log.read_text()[-2000:]}")
        if time.monotonic() > deadline_s:
            raise ProgramError(f"not ready within {timeout_s:g} s: {log.read_text()[-2000:]}")
        time.sleep(_POLL_S)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
