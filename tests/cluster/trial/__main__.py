"""`make kind` after cluster and images: install everything, then lead ports into it."""

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from localcluster.client import ClusterClient
from localcluster.settings import Settings

from .errors import TrialError
from .forwards import Forward
from .installation import RELEASE, Installation
from .ports import HOST, VARIABLE, Ports

_EXIT_INTERRUPTED = 130
_REACHED_TIMEOUT_S = 60
_BEGAN_S = time.monotonic()

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def _say(line: str) -> None:
    typer.echo(f"[{time.monotonic() - _BEGAN_S:6.1f} s] {line}")


@app.command()
def trial(
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
        bool, typer.Option(help="Lead ports of this machine into the cluster, until Ctrl-C.")
    ] = True,
) -> None:
    """Install MailTopic into the cluster that `make cluster` brought up, and open it.

    Again, it upgrades. Ctrl-C ends the port-forwards; what is installed stays.
    """
    ports = Ports.choose(port_base)
    client = Installation.find_client(Settings.from_environment())
    if forward:
        ports.check()
    try:
        Installation(client, namespace, ports, _say, tuple(values or ())).install()
    except KeyboardInterrupt:
        _say("stopped; what was installed so far stays")
        raise typer.Exit(_EXIT_INTERRUPTED) from None
    if not forward:
        _say("everything is ready")
        typer.echo(_commands(client, namespace, ports))
        return
    try:
        asyncio.run(_lead(client, namespace, ports))
    except* TrialError as errors:
        raise TrialError(str(errors.exceptions[0])) from None
    typer.echo(_afterwards(namespace))


async def _lead(client: ClusterClient, namespace: str, ports: Ports) -> None:
    """Forward both ports until SIGINT, SIGTERM or SIGHUP."""
    stopping = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, stopping.set)
    forwards = [
        Forward(name, _command(client, namespace, service, port, target), port, _say)
        for name, service, port, target in _targets(ports)
    ]
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(each.keep()) for each in forwards]
        stop = group.create_task(stopping.wait())
        up = group.create_task(_all_up(forwards))
        await asyncio.wait([stop, up], return_when=asyncio.FIRST_COMPLETED)
        if not stop.done():
            typer.echo(_welcome(client.settings, namespace, ports))
            await stop
        for task in (up, *running):
            task.cancel()


async def _all_up(forwards: Sequence[Forward]) -> None:
    try:
        async with asyncio.timeout(_REACHED_TIMEOUT_S):
            for each in forwards:
                await each.is_up.wait()
    except TimeoutError:
        raise TrialError("nothing answers behind the port-forwards") from None


def _targets(ports: Ports) -> tuple[tuple[str, str, int, int], ...]:
    return (
        ("the signup page", f"{RELEASE}-signup", ports.signup, 8080),
        ("the inbox", f"{RELEASE}-inbox", ports.inbox, 8025),
    )


def _command(
    client: ClusterClient, namespace: str, service: str, port: int, target: int
) -> list[str]:
    kubectl = [str(client.settings.bin / "kubectl"), f"--kubeconfig={client.kubeconfig}"]
    return [
        *(*kubectl, "port-forward", f"--namespace={namespace}", f"--address={HOST}"),
        *(f"service/{service}", f"{port}:{target}"),
    ]


def _welcome(settings: Settings, namespace: str, ports: Ports) -> str:
    return f"""
MailTopic runs in the namespace {namespace}.
  Sign up    http://{HOST}:{ports.signup}/   with any address
  Read mail  http://{HOST}:{ports.inbox}/   the code is in there; enter it on the signup page
  Look       export KUBECONFIG={settings.kubeconfig} PATH="{settings.bin}:$PATH"
             kubectl --namespace {namespace} get pods
Ctrl-C ends these two ports; what runs in the cluster goes on."""


def _commands(client: ClusterClient, namespace: str, ports: Ports) -> str:
    lines = ["Ports into it:"]
    for _, service, port, target in _targets(ports):
        lines.append("  " + " ".join(_command(client, namespace, service, port, target)))
    return "\n".join(lines)


def _afterwards(namespace: str) -> str:
    return f"""
The ports are closed; MailTopic still runs.
  Open them again  make kind
  Take it away     helm --namespace {namespace} uninstall {RELEASE}
  With the cluster make cluster-down"""


def main() -> None:
    """Run it; what can't be done is told in words, with exit code 2."""
    try:
        app()
    except TrialError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
