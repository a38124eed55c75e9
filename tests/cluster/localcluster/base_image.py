"""`localhost/mailtopic-base`: a Python to run, made of Debian's packages; and its builder.

The packages are unpacked, not installed: there is no package manager, no Perl and no compiler
in it. What their installation scripts would have done is done here, as far as it is needed.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mailtopic_cli.cluster.images.fingerprint import fingerprint
from mailtopic_cli.cluster.programs import run_logged

from .debian_packages import LISTS, download, packages_of, program, unpack

if TYPE_CHECKING:
    from .buildah import Buildah

BASE_NAME = "localhost/mailtopic-base"
BUILDER_NAME = "localhost/mailtopic-builder"

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
    return fingerprint(LISTS.parent, [LISTS.name, Path(__file__).name])


def ensure_base(engine: "Buildah", debs: Path, log: Path) -> tuple[str, str]:
    """Make the two images unless they are there; return their names, base first."""
    tag = base_facts()[:12]
    base, builder = f"{BASE_NAME}:{tag}", f"{BUILDER_NAME}:{tag}"
    if not engine.has(base):
        with _container(engine, "scratch", base, log) as tree:
            _lay_out(tree)
            unpack(download(packages_of("packages.txt"), debs, log), tree)
            _finish(tree, log)
    if not engine.has(builder):
        with _container(engine, base, builder, log) as tree:
            unpack(download(packages_of("builder-packages.txt"), debs, log), tree)
        _remove_older(engine, {base, builder})
    return base, builder


def _remove_older(engine: "Buildah", kept: set[str]) -> None:
    for name in (BASE_NAME, BUILDER_NAME):
        listed = engine.output(
            "images", "--format", "{{.Name}}:{{.Tag}}", "--filter", f"reference={name}"
        )
        for reference in set(listed.split()) - kept:
            engine.output("rmi", reference)


@contextmanager
def _container(engine: "Buildah", parent: str, reference: str, log: Path) -> Iterator[Path]:
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
    run_logged(program("chroot"), tree, *command, log=log, env=env)
