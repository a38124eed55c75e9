"""The `mailtopic` command. Each command imports its own parts, so that `--help` stays quick."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="mailtopic",
    help="The whole mail pipeline on one machine: Kafka, signup, senders and an inbox.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _mailtopic() -> None:
    """The whole mail pipeline on one machine: Kafka, signup, senders and an inbox."""


@app.command()
def inbox(
    data_dir: Annotated[
        Path, typer.Option(help="Where mails and the certificate are kept; made if missing.")
    ],
    http_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page and its API.")
    ] = 8025,
    smtp_port: Annotated[int, typer.Option(min=0, max=65535, help="Port for SMTP.")] = 1025,
) -> None:
    """Run only the inbox: an SMTP server that keeps every mail, and a page that shows it.

    It listens on 127.0.0.1. Senders trust the certificate in DATA_DIR/ca.pem.
    """
    from mailtopic_cli.inbox.server import InboxOptions, run_inbox  # noqa: PLC0415
    from mailtopic_runtime import run_program  # noqa: PLC0415

    options = InboxOptions(data_dir, http_port, smtp_port)
    run_program("mailtopic inbox", lambda: run_inbox(options))


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
