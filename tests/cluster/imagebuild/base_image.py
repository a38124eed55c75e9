"""`localhost/mailtopic-base`: a Python to run, made of Debian's packages; and its builder.

The packages are unpacked, not installed: there is no package manager, no Perl and no compiler
in it. What their installation scripts would have done is done here, as far as it is needed.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagebuild.catalogue import BASE_NAME, BUILDER_NAME, IMAGES_DIR
from imagebuild.commands import BuildError, run_logged
from imagebuild.engines import Buildah
from imagebuild.fingerprint import fingerprint

_APPLETS = (
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "df",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "grep",
    "head",
    "hostname",
    "id",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "sh",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tar",
    "tee",
    "test",
    "touch",
    "tr",
    "true",
    "uname",
    "wc",
    "which",
    "xargs",
)
_DROPPED = (
    # documents, but for the licences
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/base-files",
    "usr/share/applications",
    "usr/share/pixmaps",
    "usr/share/initramfs-tools",
    "usr/share/binfmts",
    "usr/share/ca-certificates",
    "usr/lib/*/gconv",
    "usr/lib/*/audit",
    "usr/sbin/update-ca-certificates",
    "usr/share/python3",
    "usr/share/doc/*/changelog*",
    "usr/share/doc/*/NEWS*",
    "usr/share/doc/*/README*",
    "usr/share/doc/*/examples",
    # a terminal's and an old network's modules, whose libraries are left out
    "usr/lib/python3.11/lib-dynload/nis.*",
    "usr/lib/python3.11/lib-dynload/_dbm.*",
    "usr/lib/python3.11/lib-dynload/_curses*",
    "usr/lib/python3.11/lib-dynload/readline.*",
    "usr/lib/python3.11/sitecustomize.py",
    "etc/python3.11",
    # of a package manager that isn't there; folders that everybody or a group may write to
    "etc/dpkg",
    "var/lib/dpkg",
    "usr/share/gcc",
    "var/lock",
    "var/local",
    "var/mail",
    "media",
    "mnt",
    "boot",
    "home",
    "srv",
)
_CHECK = "import asyncio, bz2, ctypes, hashlib, lzma, sqlite3, ssl, uuid, zlib, zoneinfo"


def base_facts() -> str:
    """What base and builder are made of, as one number; changes of Debian's don't count."""
    here = Path(__file__).relative_to(IMAGES_DIR.parent)
    return fingerprint(IMAGES_DIR.parent, ["images/base", str(here)])


def ensure_base(engine: Buildah, debs: Path, log: Path) -> tuple[str, str]:
    """Make the two images unless they are there; return their names, base first."""
    tag = base_facts()[:12]
    base, builder = f"{BASE_NAME}:{tag}", f"{BUILDER_NAME}:{tag}"
    if not engine.has(base):
        with _container(engine, "scratch", base, log) as tree:
            _lay_out(tree)
            _unpack(_download(_packages("packages.txt"), debs, log), tree)
            _finish(tree, log)
    if not engine.has(builder):
        with _container(engine, base, builder, log) as tree:
            _unpack(_download(_packages("builder-packages.txt"), debs, log), tree)
    return base, builder


@contextmanager
def _container(engine: Buildah, parent: str, reference: str, log: Path) -> Iterator[Path]:
    """Yield the root of a new container; commit it as `reference` if nothing is raised."""
    container = engine.output("from", "--pull-never", parent)
    try:
        yield Path(engine.output("mount", container))
        engine.output("umount", container)
        path = "PATH=/usr/local/bin:/usr/bin:/bin"
        engine.run(log, "config", "--env", path, "--cmd", "python3", container)
        engine.run(log, "commit", "--quiet", container, reference)
    finally:
        engine.output("rm", container)


def _packages(name: str) -> list[str]:
    lines = (IMAGES_DIR / "base" / name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _download(packages: Sequence[str], debs: Path, log: Path) -> list[Path]:
    """Fetch the newest version of each package that this machine's apt knows."""
    folder = debs / "new"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = ["-o", "APT::Sandbox::User=root"]
    try:
        run_logged(["apt-get", *options, "download", *packages], log, cwd=folder)
    except BuildError:
        # No lists yet, or old ones. Fresh ones are kept apart: the machine's own are its own.
        lists = debs / "lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        options += ["-o", f"Dir::State::Lists={lists}", "-o", "Dir::Cache::pkgcache="]
        options += ["-o", "Dir::Cache::srcpkgcache="]
        run_logged(["apt-get", *options, "update"], log)
        try:
            run_logged(["apt-get", *options, "download", *packages], log, cwd=folder)
        except BuildError as error:
            raise BuildError(
                "the base image is made of the packages of Debian 12, which this machine's apt "
                f"doesn't have; use Docker or Podman here.\n{error}"
            ) from None
    return sorted(folder.glob("*.deb"))


def _unpack(debs: Sequence[Path], tree: Path) -> None:
    for deb in debs:
        with subprocess.Popen(  # noqa: S603 - our own download
            [_program("dpkg-deb"), "--fsys-tarfile", deb], stdout=subprocess.PIPE
        ) as files:
            # dpkg-deb's own extraction would put a folder in the place of a link such as /lib.
            options = ["--extract", "--keep-directory-symlink", "--directory", str(tree)]
            code = subprocess.run(  # noqa: S603 - the same
                [_program("tar"), *options], stdin=files.stdout, check=False
            ).returncode
        if code or files.returncode:
            raise BuildError(f"{deb.name} can't be unpacked")


def _lay_out(tree: Path) -> None:
    """The folders that everything lies in; /bin and the like are links, as in Debian."""
    for folder in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "root", "run"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name}")


def _finish(tree: Path, log: Path) -> None:
    """Do what installation scripts would do, drop what nothing needs, try it."""
    certificates = sorted((tree / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    (tree / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
    bundle = tree / "etc/ssl/certs/ca-certificates.crt"
    bundle.write_bytes(b"".join(path.read_bytes() for path in certificates))
    (tree / "usr/lib/ssl").mkdir(exist_ok=True)
    (tree / "usr/lib/ssl/certs").symlink_to("/etc/ssl/certs")
    (tree / "usr/lib/ssl/cert.pem").symlink_to("/etc/ssl/certs/ca-certificates.crt")
    users = ("root:x:0:0:root:/root:/bin/sh", "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin")
    (tree / "etc/passwd").write_text("".join(f"{user}\n" for user in users))
    (tree / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (tree / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    for applet in _APPLETS:
        (tree / "usr/bin" / applet).symlink_to("busybox")
    for pattern in _DROPPED:
        for path in tree.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    (tree / "tmp").mkdir(exist_ok=True)
    (tree / "tmp").chmod(0o1777)
    (tree / "var/tmp").chmod(0o755)
    compile_all = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    _inside(tree, log, "/usr/bin/python3", *compile_all, "/usr/lib/python3.11")
    _inside(tree, log, "/usr/bin/python3", "-c", _CHECK)


def _inside(tree: Path, log: Path, *command: str) -> None:
    env = {"PATH": "/usr/bin", "LC_ALL": "C.UTF-8"}
    run_logged([_program("chroot"), tree, *command], log, env=env)


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise BuildError(f"{name} isn't installed")
    return path
