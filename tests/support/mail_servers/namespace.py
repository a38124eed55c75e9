"""Runs a mail server in namespaces of its own: its files, its users, its processes.

The machine's files lie below those of an unpacked package (overlayfs), a directory of the test is
mounted at /srv, and the users that the package would have made are there. The network is the
machine's. All processes end with the first one; mounts end with the processes.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

_USERS = {"postfix": 821, "Debian-exim": 822, "opensmtpd": 823, "opensmtpq": 824, "vmail": 825}
_USERS |= {"dovecot": 826, "dovenull": 827}
_GROUPS = _USERS | {"postdrop": 831}
VMAIL = _USERS["vmail"]
"""The user that owns the delivered mails."""
_ENTER = """
set -eu
tree=$1; etc=$2; srv=$3; shift 3
mount -t overlay overlay -o "lowerdir=$tree/usr:/usr" /usr
mount -t overlay overlay -o "lowerdir=$etc:/etc" /etc
mount --bind "$srv" /srv
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$srv/var-spool"
mount --bind "$srv/var-spool" /var/spool
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -p -m 755 /var/lib/opensmtpd/empty
exec "$@"
"""
_WRITTEN_AT_S = 1_600_000_000
_STOP_TIMEOUT_S = 20


class Namespace:
    """One server's namespaces. `directory` is its own; ``srv`` below it is /srv inside."""

    def __init__(self, tree: Path, directory: Path) -> None:
        self.srv = directory / "srv"
        self._etc = directory / "etc"
        self._tree = tree
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.srv.mkdir(parents=True)
        self._etc.mkdir()
        for made in (directory, self.srv, self._etc):
            made.chmod(0o755)
        self.mails = self.maildir("mails")
        self._add_users()

    @property
    def log(self) -> str:
        """What the server wrote to its standard output and error."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def is_running(self) -> bool:
        """Whether its first process lives."""
        return self._process is not None and self._process.poll() is None

    def etc_file(self, name: str, text: str, *, mode: int = 0o644) -> None:
        """Put a file below /etc."""
        _write(self._etc / name, text, mode)

    def srv_file(self, name: str, text: str, *, mode: int = 0o644) -> None:
        """Put a file below /srv."""
        _write(self.srv / name, text, mode)

    def maildir(self, name: str) -> Path:
        """Make a Maildir below /srv for `VMAIL`."""
        path = self.srv / name
        for made in (path, path / "new", path / "cur", path / "tmp"):
            made.mkdir()
            os.chown(made, VMAIL, VMAIL)
        return path

    def own_directory(self, name: str, user: str, *, group: str = "", mode: int = 0o700) -> None:
        """Make a directory below /srv that belongs to a user, and to its group or another."""
        path = self.srv / name
        path.mkdir(parents=True)
        path.chmod(mode)
        os.chown(path, _USERS[user], _GROUPS[group or user])

    def start(self, *command: str) -> None:
        """Start the server, in the foreground of its namespace."""
        unshare = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        places = (str(self._tree), str(self._etc), str(self.srv))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the servers' modules name it
                [*unshare, "/bin/sh", "-c", _ENTER, "sh", *places, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )

    def kill(self) -> None:
        """End all of its processes at once, as a power cut does."""
        if self._process is None:
            return
        # The kernel ends the namespace's first process after all others; unshare waits for it.
        for first in _children(self._process.pid):
            os.kill(first, signal.SIGKILL)
        self._process.wait(_STOP_TIMEOUT_S)
        self._process = None

    def _add_users(self) -> None:
        users = [f"{name}:x:{number}:{number}::/srv:/bin/false" for name, number in _USERS.items()]
        groups = [f"{name}:x:{number}:" for name, number in _GROUPS.items()]
        for file, lines in (("passwd", users), ("group", groups)):
            known = Path("/etc", file).read_text()
            self.etc_file(file, known + _lines(lines))


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=mode)
    path.write_text(text)
    path.chmod(mode)
    # Postfix waits two seconds before it reads what was written just now.
    os.utime(path, (_WRITTEN_AT_S, _WRITTEN_AT_S))
