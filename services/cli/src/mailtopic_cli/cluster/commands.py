"""`mailtopic cluster`: a cluster, its images and charts, and port-forwards into it."""

import fcntl
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .choice import CLUSTERS, Cluster, Maker, choose, current
from .errors import ClusterError, PrerequisiteError
from .images.builder import build, chosen
from .images.delivery import deliver
from .images.engines import ENGINES, EngineChoice, choose_engine
from .settings import Settings
from .trial.installation import RELEASE, Installation
from .trial.open_ports import lead
from .trial.ports import VARIABLE, Ports

_EXIT_INTERRUPTED = 130
_NO_CLUSTER = "there is no cluster"
_BEGAN_S = time.monotonic()


@dataclass(frozen=True)
class Parts:
    """The available clusters and engines; the tests add their own."""

    clusters: Mapping[str, Maker] = field(default_factory=lambda: CLUSTERS)
    engines: Mapping[str, EngineChoice] = field(default_factory=lambda: ENGINES)


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> object:
        """End a failing command with one line and the exit code for the kind of failure."""
        try:
            return super().invoke(ctx)
        except ClusterError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from None


app = typer.Typer(
    name="cluster",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def cluster(ctx: typer.Context) -> None:
    """A local Kubernetes with MailTopic in it, by kind on Docker or Podman, from a clone.

    Exit codes: 2, it can't be done; 3, the machine lacks something. MAILTOPIC_CLUSTER_DIR names
    another folder than .cluster, and so another cluster.
    """
    if ctx.obj is None:
        ctx.obj = Parts()
    # SIGTERM ends the command as Ctrl-C does, so that it can clean up.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@app.command()
def up(ctx: typer.Context) -> None:
    """Bring a cluster up; start its stopped nodes; say so if it is up.

    KIND_NODES=1 takes one node in place of three, KIND_IMAGE another node image.
    """
    settings = Settings.from_environment()
    with _exclusive(settings):
        cluster = choose(settings, _parts(ctx).clusters, _report)
        # First, so that `down` finds the remains of an interrupted start.
        settings.mode_file.write_text(f"{cluster.mode}\n")
        try:
            cluster.up()
        except PrerequisiteError:
            settings.mode_file.unlink()
            raise
        _describe(cluster)


@app.command()
def images(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", show_default="all")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="What builds.", show_default="docker, else podman")
    ] = None,
    *,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build unchanged ones too.")] = False,
    no_load: Annotated[bool, typer.Option("--no-load", help="Only build.")] = False,
) -> None:
    """Build the images that have changed, and load into the cluster what it lacks."""
    settings = Settings.from_environment()
    parts = _parts(ctx)
    wanted = chosen(names or [])
    name = choose_engine(parts.engines, engine)
    # Checked before minutes of building: the cluster may not accept images.
    current(settings, parts.clusters, _report)
    built = build(wanted, parts.engines, name, _report, rebuild=rebuild)
    if no_load:
        return
    with _exclusive(settings):
        deliver(built, current(settings, parts.clusters, _report), settings, _report)


@app.command()
def load(
    ctx: typer.Context,
    archives: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)],
) -> None:
    """Load image archives (OCI's or Docker's) into the cluster's nodes."""
    settings = Settings.from_environment()
    with _exclusive(settings):
        cluster = current(settings, _parts(ctx).clusters, _report)
        if cluster is None:
            raise ClusterError(f"{_NO_CLUSTER}: `make cluster` brings one up")
        cluster.load(archives)


@app.command()
def install(
    namespace: Annotated[str, typer.Option(help="Where it is installed.")] = RELEASE,
    port_base: Annotated[
        int | None,
        typer.Option(
            help=f"Take this port for signup and the next one for the inbox (or {VARIABLE}).",
            show_default="8080 and 8025",
        ),
    ] = None,
    values: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="More values for charts/mailtopic."),
    ] = None,
    *,
    forward: Annotated[
        bool, typer.Option(help="Forward ports of this machine into the cluster, until Ctrl-C.")
    ] = True,
) -> None:
    """Install MailTopic into the cluster that is up, and open it.

    Run again, it upgrades. Ctrl-C ends the port-forwards; the installation stays.
    """
    ports = Ports.choose(port_base)
    clients = Installation.find_clients(Settings.from_environment())
    if forward:
        ports.check()
    installation = Installation(clients, namespace, ports, _report, tuple(values or ()))
    try:
        installation.install()
    except KeyboardInterrupt:
        _report("stopped; what was installed so far stays")
        raise typer.Exit(_EXIT_INTERRUPTED) from None
    lead(installation, forward=forward)


@app.command()
def status(ctx: typer.Context) -> None:
    """Say what runs; the exit code is 0 if the cluster is up and 1 if it isn't."""
    cluster = current(Settings.from_environment(), _parts(ctx).clusters, _report)
    if cluster is None:
        typer.echo(f"{_NO_CLUSTER}: `make cluster` brings one up")
        raise typer.Exit(1)
    _describe(cluster)
    if not cluster.is_up():
        raise typer.Exit(1)


@app.command()
def down(ctx: typer.Context) -> None:
    """Take the cluster down; a cluster that was given is only forgotten."""
    settings = Settings.from_environment()
    with _exclusive(settings):
        cluster = current(settings, _parts(ctx).clusters, _report)
        if cluster is None:
            _report(_NO_CLUSTER)
            return
        cluster.down()
        settings.mode_file.unlink(missing_ok=True)
        settings.delivered_file.unlink(missing_ok=True)


def _parts(ctx: typer.Context) -> Parts:
    parts: Parts = ctx.obj
    return parts


def _report(line: str) -> None:
    typer.echo(f"[{time.monotonic() - _BEGAN_S:6.1f} s] {line}")


def _describe(cluster: Cluster) -> None:
    typer.echo(f"mode: {cluster.mode}")
    for line in cluster.describe():
        typer.echo(line)


@contextmanager
def _exclusive(settings: Settings) -> Iterator[None]:
    """Let one command at a time change the cluster."""
    settings.state.mkdir(parents=True, exist_ok=True)
    with settings.lock_file.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _report("another command works on this cluster; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
