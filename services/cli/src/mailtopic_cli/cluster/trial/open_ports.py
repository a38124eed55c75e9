"""The port-forwards into an installed MailTopic."""

import asyncio
import signal
from collections.abc import Sequence

import typer

from mailtopic_cli.cluster.errors import ClusterError

from .forwards import Forward
from .installation import RELEASE, Installation
from .ports import HOST, Ports

_REACHED_TIMEOUT_S = 60


def lead(installation: Installation, *, forward: bool) -> None:
    """Forward the ports until Ctrl-C, or only print the commands for it.

    Raises:
        ClusterError: nothing answers behind them.
    """
    if not forward:
        installation.say("everything is ready")
        typer.echo(_commands(installation))
        return
    try:
        asyncio.run(_lead(installation))
    except* ClusterError as errors:
        raise ClusterError(str(errors.exceptions[0])) from None
    typer.echo(_afterwards(installation.namespace))


async def _lead(installation: Installation) -> None:
    """Forward both ports until SIGINT, SIGTERM or SIGHUP."""
    stopping = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, stopping.set)
    forwards = [
        Forward(name, _command(installation, service, port, target), port, installation.say)
        for name, service, port, target in _targets(installation.ports)
    ]
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(each.keep()) for each in forwards]
        stop = group.create_task(stopping.wait())
        up = group.create_task(_all_up(forwards))
        await asyncio.wait([stop, up], return_when=asyncio.FIRST_COMPLETED)
        if not stop.done():
            typer.echo(_welcome(installation))
            await stop
        for task in (up, *running):
            task.cancel()


async def _all_up(forwards: Sequence[Forward]) -> None:
    try:
        async with asyncio.timeout(_REACHED_TIMEOUT_S):
            for each in forwards:
                await each.is_up.wait()
    except TimeoutError:
        raise ClusterError("nothing answers behind the port-forwards") from None


def _targets(ports: Ports) -> tuple[tuple[str, str, int, int], ...]:
    return (
        ("the signup page", f"{RELEASE}-signup", ports.signup, 8080),
        ("the inbox", f"{RELEASE}-inbox", ports.inbox, 8025),
    )


def _command(installation: Installation, service: str, port: int, target: int) -> list[str]:
    clients = installation.clients
    return [
        *(clients.program("kubectl"), f"--kubeconfig={clients.kubeconfig}", "port-forward"),
        *(f"--namespace={installation.namespace}", f"--address={HOST}"),
        *(f"service/{service}", f"{port}:{target}"),
    ]


def _welcome(installation: Installation) -> str:
    settings, ports = installation.clients.settings, installation.ports
    return f"""
MailTopic runs in the namespace {installation.namespace}.
  Sign up    http://{HOST}:{ports.signup}/   with any address
  Read mail  http://{HOST}:{ports.inbox}/   the code is in there; enter it on the signup page
  Look       export KUBECONFIG={settings.kubeconfig} PATH="{settings.bin}:$PATH"
             kubectl --namespace {installation.namespace} get pods
Ctrl-C ends these two port-forwards; MailTopic keeps running in the cluster."""


def _commands(installation: Installation) -> str:
    lines = ["Ports into it:"]
    for _, service, port, target in _targets(installation.ports):
        lines.append("  " + " ".join(_command(installation, service, port, target)))
    return "\n".join(lines)


def _afterwards(namespace: str) -> str:
    return f"""
The ports are closed; MailTopic still runs.
  Open them again  make kind
  Take it away     helm --namespace {namespace} uninstall {RELEASE}
  With the cluster make cluster-down"""
