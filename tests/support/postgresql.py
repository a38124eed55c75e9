"""A real PostgreSQL on a loopback port, with a database for each test."""

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.ports import free_ports
from support.requirements import require

_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 30
_POLL_S = 0.05
# PostgreSQL refuses to run as root, so it runs as nobody there.
_USER = 65534 if os.geteuid() == 0 else None
PASSWORD = "a-password-that-no-log-shows"


@dataclass(frozen=True)
class PostgreSQL:
    """A server that accepts connections; ``signup`` may do everything, with PASSWORD."""

    programs: Path
    port: int

    def new_database(self) -> str:
        """Make an empty database; returns its URL."""
        name = f"signup_{uuid.uuid4().hex[:8]}"
        command = [str(self.programs / "createdb"), "-h", "127.0.0.1", "-p", str(self.port)]
        subprocess.run(  # noqa: S603 - PostgreSQL's own program
            [*command, "-U", "signup", name],
            check=True,
            env={"PGPASSWORD": PASSWORD, "PATH": os.environ["PATH"]},
            timeout=_START_TIMEOUT_S,
        )
        return self.url(name)

    def url(self, database: str, password: str = PASSWORD) -> str:
        """Return the URL of a database, which need not be there."""
        return f"postgresql://signup:{password}@127.0.0.1:{self.port}/{database}"


def running_postgresql(tier: str) -> Iterator[PostgreSQL]:
    """Start a server for as long as the iterator isn't exhausted; skips the tier without one."""
    programs = _programs()
    if programs is None:
        require(tier, "there is no PostgreSQL; on Debian: apt install postgresql")
    with _folder() as folder:
        _initialise(programs, folder)
        port = free_ports(1)[0]
        log = (folder / "log").open("wb")
        command = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
        command += ["-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        server = subprocess.Popen(  # noqa: S603 - PostgreSQL's own program
            command, stdout=log, stderr=log, user=_USER, group=_USER
        )
        try:
            _wait_until_ready(programs, port, server, folder / "log")
            yield PostgreSQL(programs, port)
        finally:
            server.terminate()
            server.wait(_STOP_TIMEOUT_S)
            log.close()


def _programs() -> Path | None:
    """Where initdb and postgres are; Debian keeps them off the PATH."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    complete = [folder for folder in found if (folder / "postgres").exists()]
    return complete[0] if complete else None


@contextmanager
def _folder() -> Iterator[Path]:
    # Not pytest's own, into which nobody else can look.
    folder = Path(tempfile.mkdtemp(prefix="mailtopic-postgresql-"))
    if _USER is not None:
        os.chown(folder, _USER, _USER)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _initialise(programs: Path, folder: Path) -> None:
    (folder / "password").write_text(PASSWORD)
    command = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "signup", "--no-sync"]
    command += [f"--pwfile={folder / 'password'}", "--auth=scram-sha-256", "--encoding=UTF8"]
    done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
        [*command, "--no-locale"],
        check=False,
        capture_output=True,
        text=True,
        timeout=_START_TIMEOUT_S,
        user=_USER,
        group=_USER,
    )
    assert done.returncode == 0, done.stderr


def _wait_until_ready(
    programs: Path, port: int, server: "subprocess.Popen[bytes]", log: Path
) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    command = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(command, check=False, timeout=_START_TIMEOUT_S).returncode:  # noqa: S603
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline_s, log.read_text()
        time.sleep(_POLL_S)
