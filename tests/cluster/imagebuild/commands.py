"""Programs of this machine, run quietly: their output is a log, shown where they fail."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_TAIL_LINES = 25


class BuildError(Exception):
    """An image can't be built or delivered; the text says why and what to do."""


def output_of(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> str:
    """Return what a program writes to standard output, without the last line break.

    Raises:
        BuildError: it isn't there or it failed; the text holds what it wrote to standard error.
    """
    done = _run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise BuildError(_failure(command, done.returncode, done.stderr))
    return done.stdout.rstrip("\n")


def succeeds(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> bool:
    """Whether a program is there and ends with 0."""
    try:
        done = _run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except BuildError:
        return False
    return done.returncode == 0


def run_logged(
    command: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a program and append all that it writes to `log`.

    Raises:
        BuildError: it isn't there or it failed; the text holds the end of the log.
    """
    with log.open("a", encoding="utf-8") as output:
        done = _run(command, env=env, cwd=cwd, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode:
        text = log.read_text("utf-8", errors="replace")
        raise BuildError(f"{_failure(command, done.returncode, text)}\n(all of it: {log})")


def _run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None,
    cwd: Path | None = None,
    stdout: object,
    stderr: object,
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(  # type: ignore[call-overload,no-any-return]  # noqa: S603 - callers say what runs
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            check=False,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise BuildError(f"{command[0]} isn't installed") from None


def _failure(command: Sequence[str | Path], code: int, text: str) -> str:
    shown = " ".join(str(part) for part in command[:3])
    tail = "\n".join(text.splitlines()[-_TAIL_LINES:])
    return f"`{shown} …` ended with {code}:\n{tail}"
