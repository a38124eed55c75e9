"""Run the programs that the cluster is made of and made by."""

import subprocess
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import IO

Finished = subprocess.CompletedProcess[str]


def run(
    *command: str | PathLike[str],
    text: str | None = None,
    stdin: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float | None = None,
) -> Finished:
    """Run a program to its end and return what it wrote, whatever its exit code is.

    Args:
        command: the program, by path or by a name on PATH, and its arguments.
        text: what it reads on standard input; by default nothing.
        stdin: a file to read instead.
        env: the whole environment; by default this process's.
        cwd: where it runs.
        timeout_s: kill it after this time.

    Raises:
        OSError: the program can't be started.
        subprocess.TimeoutExpired: it took too long.
    """
    if text is not None and stdin is not None:
        raise ValueError("a program has one standard input")
    with subprocess.Popen(  # noqa: S603 - which programs are run is fixed
        command,
        stdin=subprocess.PIPE if text is not None else stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        cwd=cwd,
    ) as process:
        try:
            stdout, stderr = process.communicate(text, timeout_s)
        except BaseException:
            process.kill()
            raise
    return Finished(command, process.returncode, stdout, stderr)


def run_checked(*command: str, text: str | None = None) -> None:
    """Run a program that has to succeed.

    Raises:
        RuntimeError: it failed; the text quotes what it wrote.
    """
    finished = run(*command, text=text)
    if finished.returncode:
        wrote = (finished.stderr or finished.stdout).strip()
        raise RuntimeError(f"{' '.join(command)} failed: {wrote[-2000:]}")
