"""The files of Apache Kafka: fetched once, checked at every start.

`kafka.lock.toml` (written by `kafka_lock.py`) pins every jar by version and SHA-256. The jars
lie in the per-user cache in Maven's layout. A start needs the network only if a jar is missing
or is not the pinned one, for example because an earlier download was cut off.
"""

import fcntl
import hashlib
import os
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

Progress = Callable[[str], None]
"""Takes one short line in plain English; may be called from another thread."""

LOCK_NAME = "kafka.lock.toml"
_PARALLEL_DOWNLOADS = 6
_TRIES = 3
_RETRY_PAUSE_S = 1.0
_REPORT_EVERY_S = 0.25


class DistributionError(Exception):
    """The files of Apache Kafka are unavailable; the text is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class LockedJar:
    """One jar of the lock: Maven coordinates and the SHA-256 of its bytes in hex."""

    group: str
    artifact: str
    version: str
    sha256: str

    def path(self, repository: Path) -> Path:
        """The place of the jar in a local Maven repository."""
        folder = repository.joinpath(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}.jar"

    def is_intact(self, repository: Path) -> bool:
        """Whether the jar exists with exactly the pinned bytes."""
        try:
            with self.path(repository).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Distribution:
    """A broker's jars. `version` is the version of Apache Kafka."""

    version: str
    jars: tuple[LockedJar, ...]

    def class_path(self, repository: Path) -> str:
        """The Java class path of the jars below `repository`, in the order of the lock."""
        return os.pathsep.join(str(jar.path(repository)) for jar in self.jars)

    def missing(self, repository: Path) -> list[LockedJar]:
        """The jars that are absent or not the pinned ones. Reads every jar (about 0.1 s)."""
        with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
            intact = pool.map(lambda jar: jar.is_intact(repository), self.jars)
            return [jar for jar, good in zip(self.jars, intact, strict=True) if not good]


def cache_dir() -> Path:
    """The per-user cache of MailTopic: `$XDG_CACHE_HOME/mailtopic` or `~/.cache/mailtopic`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mailtopic"


def load_distribution() -> Distribution:
    """Read the lock that ships in this package."""
    text = resources.files(__package__).joinpath(LOCK_NAME).read_text("utf-8")
    jars = tuple(
        LockedJar(d["groupId"], d["artifactId"], d["version"], d["sha256"])
        for d in tomllib.loads(text)["dependencies"]
    )
    version = next(jar.version for jar in jars if jar.artifact == "kafka_2.13")
    return Distribution(version, jars)


def ensure_distribution(
    distribution: Distribution,
    repository: Path,
    progress: Progress | None = None,
    cancelled: threading.Event | None = None,
) -> None:
    """Make every jar of `distribution` present and intact below `repository`.

    Works offline when nothing is missing. Several processes may call it at the same time: one
    fetches, the others wait for it. Setting `cancelled` from another thread ends a download.

    Raises:
        DistributionError: a jar cannot be fetched, its bytes are not the pinned ones, or the
            download was cancelled.
    """
    if not distribution.missing(repository):
        return
    with _exclusive(repository):
        missing = distribution.missing(repository)
        if missing:
            title = f"Fetching Apache Kafka {distribution.version}"
            meter = _Meter(title, len(missing), progress or _silent, cancelled or threading.Event())
            _fetch(missing, repository, meter)


def _silent(_: str) -> None:
    """Report nothing."""


@contextmanager
def _exclusive(repository: Path) -> Iterator[None]:
    try:
        repository.mkdir(parents=True, exist_ok=True)
        file = (repository / ".fetching").open("w")
    except OSError as error:
        raise DistributionError(
            f"cannot write to the cache {repository} ({error.strerror}): "
            "make it writable or set XDG_CACHE_HOME"
        ) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Meter:
    """Counts files and bytes of a download and reports them at a limited rate."""

    def __init__(
        self, title: str, files: int, progress: Progress, cancelled: threading.Event
    ) -> None:
        self._title, self._files, self._progress = title, files, progress
        self._cancelled = cancelled
        self._lock = threading.Lock()
        self._done = 0
        self._bytes = 0
        self._next_report_s = 0.0

    @contextmanager
    def of_file(self, _name: str, _size: int) -> Iterator[Callable[[int], None]]:
        """What jgo calls for each download; yields the function that takes byte counts."""
        yield self.add_bytes

    def check(self) -> None:
        """Raise DistributionError if the download was cancelled."""
        if self._cancelled.is_set():
            raise DistributionError("the download was stopped")

    def add_bytes(self, count: int) -> None:
        self.check()
        with self._lock:
            self._bytes += count
            self._report()

    def add_file(self) -> None:
        with self._lock:
            self._done += 1
            self._report(now=self._done == self._files)

    def _report(self, *, now: bool = False) -> None:
        time_s = time.monotonic()
        if now or time_s >= self._next_report_s:
            self._next_report_s = time_s + _REPORT_EVERY_S
            megabytes = self._bytes / 1e6
            self._progress(
                f"{self._title}: {self._done} of {self._files} files, {megabytes:.1f} MB"
            )


def _fetch(missing: list[LockedJar], repository: Path, meter: _Meter) -> None:
    fetch = _downloader(repository, meter)
    with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
        jobs = [pool.submit(_fetch_one, jar, repository, fetch, meter) for jar in missing]
        try:
            for job in jobs:
                job.result()
        except DistributionError:
            pool.shutdown(cancel_futures=True)
            raise


def _downloader(repository: Path, meter: _Meter) -> Callable[[LockedJar], None]:
    # jgo takes almost a second to import, and most starts have nothing to fetch.
    import logging  # noqa: PLC0415

    from jgo.config import GlobalSettings  # noqa: PLC0415
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

    logging.getLogger("jgo").addHandler(logging.NullHandler())
    # A `central = URL` in jgo's own configuration file names a mirror. Whatever a mirror
    # serves, only the pinned bytes are accepted.
    remotes = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    context = MavenContext(
        resolver=PythonResolver(progress_callback=meter.of_file),
        repo_cache=repository,
        local_repos=[],
        remote_repos=remotes,
        timeout=20,
    )

    def download(jar: LockedJar) -> None:
        component = context.project(jar.group, jar.artifact).at_version(jar.version)
        component.artifact().resolve()

    return download


def _fetch_one(
    jar: LockedJar, repository: Path, fetch: Callable[[LockedJar], None], meter: _Meter
) -> None:
    problem = ""
    for attempt in range(_TRIES):
        meter.check()
        if attempt:
            time.sleep(_RETRY_PAUSE_S)
        jar.path(repository).unlink(missing_ok=True)
        try:
            fetch(jar)
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
            problem = type(error).__name__
            continue
        if jar.is_intact(repository):
            meter.add_file()
            return
        problem = "wrong SHA-256"
    jar.path(repository).unlink(missing_ok=True)
    raise DistributionError(
        f"cannot download {jar.artifact} {jar.version} from Maven Central ({problem}): "
        "check the network (HTTPS_PROXY is honoured) and start again"
    )
