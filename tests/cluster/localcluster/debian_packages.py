"""Debian's packages as files: fetched with this machine's apt, unpacked and never installed."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mailtopic_cli.cluster.errors import ClusterError
from mailtopic_cli.cluster.programs import run_logged, succeeds

LISTS = Path(__file__).parent / "base"


def packages_of(name: str) -> list[str]:
    """The names in one of the lists below base/."""
    lines = (LISTS / name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def download(packages: Sequence[str], debs: Path, log: Path) -> list[Path]:
    """Fetch the newest version of each package that this machine's apt knows.

    Raises:
        ClusterError: apt knows one of them not, or can't fetch it.
    """
    folder = debs / "new"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = ["-o", "APT::Sandbox::User=root"]
    try:
        run_logged("apt-get", *options, "download", *packages, log=log, cwd=folder)
    except ClusterError:
        # No lists yet, or old ones. Fresh ones are kept apart: the machine's own are its own.
        lists = debs / "lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        options += ["-o", f"Dir::State::Lists={lists}", "-o", "Dir::Cache::pkgcache="]
        options += ["-o", "Dir::Cache::srcpkgcache="]
        try:
            # It also fails where a source that isn't Debian's is away; the download decides.
            succeeds("apt-get", *options, "update")
            run_logged("apt-get", *options, "download", *packages, log=log, cwd=folder)
        except ClusterError as error:
            raise ClusterError(
                "the base image is made of the packages of Debian 12, which this machine's apt "
                f"doesn't have; use Docker or Podman here.\n{error}"
            ) from None
    return sorted(folder.glob("*.deb"))


def unpack(debs: Sequence[Path], tree: Path) -> None:
    """Put the files of packages below `tree`, with their rights and owners; run no script.

    Raises:
        ClusterError: a file is no package.
    """
    for deb in debs:
        with subprocess.Popen(  # noqa: S603 - our own download
            [program("dpkg-deb"), "--fsys-tarfile", deb], stdout=subprocess.PIPE
        ) as files:
            # dpkg-deb's own extraction would put a folder in the place of a link such as /lib.
            options = ["--extract", "--keep-directory-symlink", "--directory", str(tree)]
            code = subprocess.run(  # noqa: S603 - the same
                [program("tar"), *options], stdin=files.stdout, check=False
            ).returncode
        if code or files.returncode:
            raise ClusterError(f"{deb.name} can't be unpacked")


def program(name: str) -> str:
    """The path of a program of this machine.

    Raises:
        ClusterError: it isn't installed.
    """
    path = shutil.which(name)
    if path is None:
        raise ClusterError(f"{name} isn't installed")
    return path
