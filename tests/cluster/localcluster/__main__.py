"""The local cluster's command: `python -m localcluster --help`."""

import fcntl
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .choice import Cluster, choose, current
from .clients import link_clients
from .errors import ClusterError
from .settings import Settings, cache_folder
from .toolchain import MODULES, Toolchain

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A Kubernetes to test the charts on: one that is given, kind, or a node on this machine.",
)
_BEGAN_S = time.monotonic()


def _report(line: str) -> None:
    typer.echo(f"[{time.monotonic() - _BEGAN_S:6.1f} s] {line}")


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


def _toolchain() -> Toolchain:
    return Toolchain(cache_folder(), _report)


@app.command()
def up() -> None:
    """Bring the cluster up; say so if it is up."""
    settings = Settings.from_environment()
    with _exclusive(settings):
        toolchain = _toolchain()
        cluster = choose(settings, toolchain, _report)
        # First, so that `down` finds what an interrupted start has left.
        settings.mode_file.write_text(f"{cluster.mode}\n")
        cluster.up()
        link_clients(settings, toolchain, cluster.mode)
        _tell(cluster)


@app.command()
def down() -> None:
    """Take the cluster down; a cluster that was given is only forgotten."""
    settings = Settings.from_environment()
    with _exclusive(settings):
        current(settings, _toolchain(), _report).down()
        settings.mode_file.unlink(missing_ok=True)
        settings.delivered_file.unlink(missing_ok=True)


@app.command()
def status() -> None:
    """Say what runs; the exit code is 0 if the cluster is up and 1 if it isn't."""
    settings = Settings.from_environment()
    cluster = current(settings, _toolchain(), _report)
    _tell(cluster)
    if not cluster.is_up():
        raise typer.Exit(1)


@app.command()
def load(archives: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)]) -> None:
    """Load image archives (OCI's or Docker's) into the cluster's nodes."""
    settings = Settings.from_environment()
    with _exclusive(settings):
        current(settings, _toolchain(), _report).load(archives)


@app.command()
def build() -> None:
    """Build the programs into the cache and link the clients, without starting anything."""
    settings = Settings.from_environment()
    settings.state.mkdir(parents=True, exist_ok=True)
    toolchain = _toolchain()
    toolchain.ensure(*MODULES)
    if not settings.mode_file.exists():
        link_clients(settings, toolchain, "node")


@app.command()
def kubeconfig() -> None:
    """Print the path of the cluster's kubeconfig."""
    path = Settings.from_environment().kubeconfig
    if not path.exists():
        raise ClusterError("there is no cluster: bring it up first")
    typer.echo(str(path))


def _tell(cluster: Cluster) -> None:
    typer.echo(f"mode: {cluster.mode}")
    for line in cluster.describe():
        typer.echo(line)


def main() -> None:
    """Run a command; what can't be done is told in words, with exit code 2 or 3."""
    # An end that can be cleaned up after, as that by Ctrl-C is.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except ClusterError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
