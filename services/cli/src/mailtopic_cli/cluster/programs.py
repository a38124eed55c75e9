"""Run other programs quietly; show their output if they fail."""

import subprocess
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import IO

from .errors import ClusterError

Finished = subprocess.CompletedProcess[str]
Program = str | PathLike[str]
Report = Callable[[str], object]
"""Receives one progress line."""

_TAIL_LINES = 25


def run(
    *command: Program,
    text: str | None = None,
    stdin: IO[bytes] | None = None,
    output: IO[str] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float | None = None,
) -> Finished:
    """Run a program and return its output, whatever its exit code is.

    Args:
        command: the program, by path or by a name on PATH, and its arguments.
        text: its standard input; by default empty.
        stdin: a file to read instead.
        output: a file for its output; by default the output is returned.
        env: the whole environment; by default this process's.
        cwd: where it runs.
        timeout_s: kill it after this time.

    Raises:
        OSError: the program can't be started.
        subprocess.TimeoutExpired: it took too long.
    """
    if text is not None and stdin is not None:
        raise ValueError("a program has one standard input")
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE if text is not None else stdin or subprocess.DEVNULL,
        stdout=output or subprocess.PIPE,
        stderr=subprocess.STDOUT if output else subprocess.PIPE,
        text=True,
        errors="replace",
        env=env,
        cwd=cwd,
    ) as process:
        try:
            stdout, stderr = process.communicate(text, timeout_s)
        except BaseException:
            process.kill()
            raise
    return Finished(command, process.returncode, stdout or "", stderr or "")


def output_of(
    *command: Program, text: str | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Return a program's standard output, without the last line break.

    Raises:
        ClusterError: it is missing or failed; the text has the end of its output.
    """
    try:
        finished = run(*command, text=text, env=env)
    except FileNotFoundError:
        raise ClusterError(f"{command[0]} isn't installed") from None
    if finished.returncode:
        raise ClusterError(_failure(command, finished, finished.stderr or finished.stdout))
    return finished.stdout.rstrip("\n")


def succeeds(*command: Program, env: Mapping[str, str] | None = None) -> bool:
    """Whether a program exists and exits with 0."""
    try:
        return run(*command, env=env).returncode == 0
    except OSError:
        return False


def run_logged(
    *command: Program,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a program and append its output to `log`.

    Raises:
        ClusterError: it is missing or failed; the text has the end of the log.
    """
    try:
        with log.open("a", encoding="utf-8") as output:
            finished = run(*command, output=output, env=env, cwd=cwd)
    except FileNotFoundError:
        raise ClusterError(f"{command[0]} isn't installed") from None
    if finished.returncode:
        text = log.read_text("utf-8", errors="replace")
        raise ClusterError(f"{_failure(command, finished, text)}\n(all of it: {log})")


def last_line(text: str) -> str:
    """Return the most informative line of an error output, at most 300 characters of it."""
    return (text.strip().splitlines() or ["it said nothing"])[-1][-300:]


def _failure(command: tuple[Program, ...], finished: Finished, text: str) -> str:
    shown = " ".join(str(part) for part in command[:3])
    tail = "\n".join(text.splitlines()[-_TAIL_LINES:])
    return f"`{shown} …` ended with {finished.returncode}:\n{tail}"
