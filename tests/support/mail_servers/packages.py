"""Debian's mail servers, unpacked beside each other: as packages they exclude one another.

Nothing is installed: `fetch` downloads with apt and unpacks with dpkg into .mailservers/, one tree
a server, with the libraries that a small Debian lacks. The trees are used by `namespace`.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

TREES = Path(__file__).parents[3] / ".mailservers"
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "postfix": (
        "postfix",
        "libdb5.3",
        "libicu72",
        "libnsl2",
        "libsasl2-2",
        "libsasl2-modules-db",
        "libtirpc3",
    ),
    "exim": (
        "exim4-base",
        "exim4-daemon-light",
        "libdb5.3",
        "libevent-2.1-7",
        "libgnutls-dane0",
        "libidn12",
        "libnsl2",
        "libpcre2-8-0",
        "libtirpc3",
        "libunbound8",
    ),
    "dovecot": (
        "dovecot-core",
        "dovecot-submissiond",
        "libapparmor1",
        "libexttextcat-2.0-0",
        "libicu72",
        "liblua5.4-0",
        "libsodium23",
        "libstemmer0d",
        "libtirpc3",
        "libunwind8",
        "libwrap0",
    ),
    "opensmtpd": ("opensmtpd", "libdb5.3", "libevent-2.1-7"),
}
_DEBIAN = "12"
_TIMEOUT_S = 300


def problem() -> str | None:
    """Why Debian's mail servers can't run here, in words that say what to do; None if they can."""
    if os.geteuid() != 0:
        return "mail servers change their user, so only root can start them"
    release = Path("/etc/os-release")
    if f'VERSION_ID="{_DEBIAN}"' not in (release.read_text() if release.exists() else ""):
        return f"the mail servers are those of Debian {_DEBIAN}, and this is another system"
    lacking = [name for name in PACKAGES if not (TREES / name).is_dir()]
    if lacking:
        return f"{', '.join(lacking)} not found; run: make mail-servers"
    return None


def fetch() -> None:
    """Download and unpack what isn't there yet.

    Raises:
        subprocess.CalledProcessError: a package can't be had, or not be unpacked.
    """
    lacking = [name for name in PACKAGES if not (TREES / name).is_dir()]
    if not lacking:
        return
    TREES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TREES) as scratch:
        # Without package lists there are names, but no versions.
        _run("apt-get", "update", "-qq", cwd=Path(scratch))
        for name in lacking:
            tree = Path(scratch) / "trees" / name
            _unpack(_download(PACKAGES[name], Path(scratch) / name), tree)
            tree.rename(TREES / name)


def _download(packages: tuple[str, ...], directory: Path) -> list[Path]:
    directory.mkdir()
    # apt's own user can't write here; without a sandbox, apt needs no other user.
    _run("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *packages, cwd=directory)
    return sorted(directory.glob("*.deb"))


def _unpack(archives: list[Path], tree: Path) -> None:
    """Everything below usr/: since Debian 12, /lib is a link to /usr/lib."""
    (tree / "usr/lib").mkdir(parents=True)
    for archive in archives:
        _run("dpkg-deb", "--extract", str(archive), str(tree), cwd=tree)
    if (tree / "lib").exists():
        shutil.copytree(tree / "lib", tree / "usr/lib", symlinks=True, dirs_exist_ok=True)
    for needless in ("etc", "lib", "usr/share/doc", "usr/share/man", "var"):
        shutil.rmtree(tree / needless, ignore_errors=True)


def _run(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, timeout=_TIMEOUT_S)  # noqa: S603 - named above
