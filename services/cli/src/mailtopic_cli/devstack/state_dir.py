"""The devstack's directory: its data, keys and logs, and the lock of the process that uses it."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailtopic_cli.devstack.errors import BadStart, option

_MARKER = "MAILTOPIC_STATE"
_MARKER_TEXT = "mailtopic up keeps its data here; mailtopic up --fresh deletes all of it.\n"
_LOCK = "lock"
_MAX_LOG_BYTES = 10_000_000


def default_state_dir() -> Path:
    """`$XDG_STATE_HOME/mailtopic` or `~/.local/state/mailtopic`."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "mailtopic"


class StateDir:
    """The paths in the directory. Nothing is read or written until it is needed."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def kafka(self) -> Path:
        """The broker's directory."""
        return self.path / "kafka"

    @property
    def inbox(self) -> Path:
        """The inbox's mails and certificate."""
        return self.path / "inbox"

    @property
    def ca_file(self) -> Path:
        """The certificate that senders trust."""
        return self.inbox / "ca.pem"

    @property
    def database(self) -> Path:
        """The signup service's SQLite file."""
        return self.path / "signup.db"

    @property
    def sealing_keys(self) -> Path:
        """The keys that seal the variables of mails (mode 0600)."""
        return self.path / "sealing-keys.json"

    @property
    def pepper_keys(self) -> Path:
        """The keys of the codes' HMAC (mode 0600)."""
        return self.path / "pepper-keys.json"

    @property
    def run_file(self) -> Path:
        """What is running: see `run_file.py`."""
        return self.path / "run.json"

    @property
    def logs(self) -> Path:
        """The folder with one log per process."""
        return self.path / "logs"

    def log(self, name: str) -> Path:
        """The log of the process called `name`."""
        return self.logs / f"{name}.log"

    @contextmanager
    def in_use(self, *, fresh: bool) -> Iterator[None]:
        """Make the directory and lock it; with `fresh`, empty it first.

        Raises:
            BadStart: another devstack uses it, it holds something else, or it is not writable.
        """
        try:
            self._make()
            with (self.path / _LOCK).open("a") as lock:
                self._take(lock.fileno())
                if fresh:
                    self._empty()
                self.logs.mkdir(exist_ok=True)
                self._turn_logs()
                yield
        except OSError as error:
            raise BadStart(
                f"cannot use {error.filename or self.path} ({error.strerror}): "
                f"make it writable or choose another: {option('--data-dir …')}"
            ) from None

    def is_in_use(self) -> bool:
        """Whether a devstack runs on this directory."""
        try:
            with (self.path / _LOCK).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _make(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        marker = self.path / _MARKER
        if marker.exists():
            return
        if any(self.path.iterdir()):
            # --fresh deletes everything in here, so the directory must be marked as ours first.
            raise BadStart(
                f"{self.path} holds files that are not MailTopic's: give an empty one: "
                f"{option('--data-dir …')}"
            )
        marker.write_text(_MARKER_TEXT, "utf-8")

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadStart(
                f"mailtopic already runs on {self.path}: stop it there with Ctrl-C, or start a "
                f"second one with {option('--data-dir … --port-base …')} "
                "(mailtopic status shows the first)"
            ) from None

    def _empty(self) -> None:
        for item in self.path.iterdir():
            if item.name in {_MARKER, _LOCK}:
                continue
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink()

    def _turn_logs(self) -> None:
        for log in self.logs.glob("*.log"):
            with contextlib.suppress(OSError):
                if log.stat().st_size > _MAX_LOG_BYTES:
                    log.replace(log.with_suffix(".log.1"))
