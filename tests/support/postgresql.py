"""A real PostgreSQL on a loopback port, with a database for each test."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.ports import free_ports
from support.requirements import require

_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 30
_POLL_S = 0.05
# PostgreSQL refuses to run as root; then it runs as the user nobody.
_USER = 65534 if os.geteuid() == 0 else None
PASSWORD = "a-password-that-no-log-shows"


@dataclass
class PostgreSQL:
    """A server that accepts connections; ``signup`` may do everything, with PASSWORD.

    Its folder survives a kill: the next start recovers what was committed. Without fsync it would
    not survive a power failure.
    """

    programs: Path
    folder: Path
    port: int
    fsync: bool = False
    _server: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        """What the server wrote."""
        return self.folder / "log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data")]
        command += ["-p", str(self.port), "-c", f"unix_socket_directories={self.folder}"]
        command += ["-c", f"fsync={'on' if self.fsync else 'off'}"]
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(  # noqa: S603 - PostgreSQL's own program
                command, stdout=log, stderr=log, user=_USER, group=_USER, start_new_session=True
            )
        _wait_until_ready(self.programs, self.port, self._server, self.log)

    def stop(self) -> None:
        """Stop it in good order; connections are closed."""
        server = self._running()
        server.send_signal(signal.SIGINT)
        server.wait(_STOP_TIMEOUT_S)

    def kill(self) -> None:
        """Kill all of its processes (SIGKILL), as a crash of the machine would."""
        server = self._running()
        # While stopped it starts no child, and no child's pid can be reused. The
        # children lead sessions of their own: its process group is the server alone.
        server.send_signal(signal.SIGSTOP)
        _wait(lambda: _state(server.pid)[0] == "T", "the server is held still")
        children = _children(server.pid)
        for pid in (server.pid, *children):
            os.kill(pid, signal.SIGKILL)
        server.wait(_STOP_TIMEOUT_S)
        # A remaining process holds the shared memory, and prevents the next start.
        _wait(lambda: all(_state(pid)[0] in "ZX" for pid in children), "its children are gone")

    @property
    def pids(self) -> list[int]:
        """The server's process and those that it started."""
        server = self._running()
        return [server.pid, *_children(server.pid)]

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._server is not None and self._server.poll() is None

    def new_database(self, template: str | None = None) -> str:
        """Make a database, empty or as the one of that URL; returns its URL."""
        name = f"signup_{uuid.uuid4().hex[:8]}"
        like = ["--template", template.rpartition("/")[2]] if template else []
        self._run("createdb", *like, name)
        return self.url(name)

    def dump(self, url: str) -> bytes:
        """Return all that is in a database, as SQL."""
        return self._run("pg_dump", "--inserts", url.rpartition("/")[2])

    def url(self, database: str, password: str = PASSWORD) -> str:
        """Return the URL of a database, which need not be there."""
        return f"postgresql://signup:{password}@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> bytes:
        command = [str(self.programs / program), "-h", "127.0.0.1", "-p", str(self.port)]
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
            [*command, "-U", "signup", *arguments],
            check=True,
            env={"PGPASSWORD": PASSWORD, "PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            timeout=_START_TIMEOUT_S,
        )
        return done.stdout

    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._server
        return self._server


def running_postgresql(tier: str, *, fsync: bool = False) -> Iterator[PostgreSQL]:
    """Start a server for as long as the iterator isn't exhausted; skips the tier without one."""
    programs = _programs()
    if programs is None:
        require(tier, "there is no PostgreSQL; on Debian: apt install postgresql")
    with _folder() as folder:
        _initialise(programs, folder)
        server = PostgreSQL(programs, folder, free_ports(1)[0], fsync)
        server.start()
        try:
            yield server
        finally:
            if server.is_running:
                server.stop()


def _programs() -> Path | None:
    """Where initdb and postgres are; Debian keeps them off the PATH."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    complete = [folder for folder in found if (folder / "postgres").exists()]
    return complete[0] if complete else None


def _children(pid: int) -> list[int]:
    everybody = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [each for each in everybody if _state(each)[1] == pid]


def _state(pid: int) -> tuple[str, int]:
    """Return the state of a process (proc(5); X: there is none), and its parent."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    return fields[0], int(fields[1])


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + _STOP_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not in time: {what}"
        time.sleep(_POLL_S)


@contextmanager
def _folder() -> Iterator[Path]:
    # Not pytest's own, which other users can't read.
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
