"""The commands `mailtopic dlq list|show|replay` and their options."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

if TYPE_CHECKING:
    from mailtopic_cli.dlq.selection import Selection
    from mailtopic_cli.dlq.session import Session
    from mailtopic_cli.dlq.settings import DlqSettings

DEFAULT_ROWS = 100

app = typer.Typer(
    name="dlq",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Look at dead letters without seeing a code, and give their mails another attempt.

    Kafka's address comes from the options, else from MAILTOPIC_KAFKA__… and MAILTOPIC_TOPIC as the
    senders have them (TLS and SASL too), else from the devstack that runs on this machine.
    """,
)

Topic = Annotated[str | None, typer.Option(help="The main topic.", show_default="MAILTOPIC_TOPIC")]
Servers = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-servers",
        help="Bootstrap brokers, host:port,host:port.",
        show_default="MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS",
    ),
]
Timeout = Annotated[
    float, typer.Option(min=0.1, help="Seconds to wait for a broker that does not answer.")
]
Classes = Annotated[
    list[str] | None,
    typer.Option("--class", help="Only letters of this error class; may be given several times."),
]
Ids = Annotated[
    list[str] | None,
    typer.Option("--id", help="Only the mail with this id; may be given several times."),
]
Since = Annotated[
    str | None,
    typer.Option(help="Only what died at this time or later: 2026-01-31T12:00:00Z, or 10m ago."),
]
Until = Annotated[
    str | None, typer.Option(help="Only what died before this time, given in the same way.")
]


@app.command("list")
def list_command(
    *,
    topic: Topic = None,
    bootstrap_servers: Servers = None,
    classes: Classes = None,
    ids: Ids = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0, help="Show at most this many; 0: all.", show_default="100, with --json all"
        ),
    ] = None,
    timeout: Timeout = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show dead letters, a line each, and how many there are of each class.

    The exit code is 0, also when nothing matches; 1 when no broker answers, 2 for a wrong option.
    """
    rows = (None if as_json else DEFAULT_ROWS) if limit is None else (limit or None)
    with _wrong_options("list"):
        selection = _selection(classes, ids, since, until)

    async def run(session: "Session", _settings: "DlqSettings") -> int:
        from mailtopic_cli.dlq.listing import list_letters  # noqa: PLC0415

        await list_letters(session, selection, limit=rows, as_json=as_json)
        return 0

    _run("list", run, topic, bootstrap_servers, timeout)


@app.command("show")
def show_command(
    which: Annotated[
        str, typer.Argument(metavar="ID|PARTITION/OFFSET", help="A mail's id, or its place.")
    ],
    topic: Topic = None,
    bootstrap_servers: Servers = None,
    timeout: Timeout = 30.0,
) -> None:
    """Show a dead letter in detail: no code, no full address."""
    with _wrong_options("show"):
        place = _which(which)

    async def run(session: "Session", _settings: "DlqSettings") -> int:
        from mailtopic_cli.dlq.showing import show_letters  # noqa: PLC0415

        return await show_letters(session, place)

    _run("show", run, topic, bootstrap_servers, timeout)


@app.command("replay")
def replay_command(
    *,
    topic: Topic = None,
    bootstrap_servers: Servers = None,
    classes: Classes = None,
    ids: Ids = None,
    since: Since = None,
    until: Until = None,
    rate: Annotated[
        str | None,
        typer.Option(
            help="Maximum rate in mails: 50/s, 600/m.", show_default="as the broker takes them"
        ),
    ] = None,
    timeout: Timeout = 30.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be replayed; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Write the counts there as JSON; that nothing matches is then no error."),
    ] = None,
) -> None:
    """Put the mails of dead letters back on the main topic for another attempt.

    It skips letters that are no mail, have expired, were superseded by a newer mail, are settled,
    or were replayed since they died. So running the command again repeats no mail, even after an
    interruption.
    The exit code is 0, also when all were skipped; 1 when nothing matches or no broker answers;
    2 for a wrong option; 130 when it was interrupted.
    """
    from mailtopic_cli.adapters.kafka import KafkaReplayWriter  # noqa: PLC0415
    from mailtopic_cli.dlq.replaying import (  # noqa: PLC0415
        ReplayOptions,
        ask_on_terminal,
        replay_letters,
    )
    from mailtopic_cli.dlq.selection import parse_rate  # noqa: PLC0415
    from mailtopic_runtime import SettingError, stop_on_signals  # noqa: PLC0415

    with _wrong_options("replay"):
        selection = _selection(classes, ids, since, until)
        mails_per_s = parse_rate("--rate", rate)
        if not (dry_run or yes or sys.stdin.isatty()):
            raise SettingError(
                "--yes", "is needed where there is no terminal to ask on (or --dry-run)"
            )

    async def run(session: "Session", settings: "DlqSettings") -> int:
        options = ReplayOptions(
            selection,
            superseding=settings.delivery.superseding_purposes,
            is_dry_run=dry_run,
            rate=mails_per_s,
            ask=None if yes else ask_on_terminal,
            report=report,
        )
        writer = KafkaReplayWriter(
            settings.kafka.client_kwargs(), settings.topic, timeout_s=timeout
        )
        try:
            return await replay_letters(session, writer, options, stop=stop_on_signals())
        finally:
            await writer.close()

    _run("replay", run, topic, bootstrap_servers, timeout)


def _selection(
    classes: list[str] | None,
    ids: list[str] | None,
    since: str | None,
    until: str | None,
) -> "Selection":
    from mailtopic_cli.dlq.selection import Selection, parse_ids, parse_moment  # noqa: PLC0415
    from mailtopic_runtime import SystemClock  # noqa: PLC0415

    now_ms = SystemClock().now_ms()
    return Selection(
        classes=frozenset(name.lower() for name in classes or ()),
        ids=parse_ids("--id", ids or []),
        since_ms=parse_moment("--since", since, now_ms=now_ms),
        until_ms=parse_moment("--until", until, now_ms=now_ms),
    )


@contextmanager
def _wrong_options(command: str) -> "Iterator[None]":
    """End the process with one line and code 2 when an option can't be used."""
    from mailtopic_runtime import SettingError  # noqa: PLC0415

    try:
        yield
    except SettingError as error:
        typer.echo(f"mailtopic dlq {command}: {error}", err=True)
        raise typer.Exit(2) from None


def _which(text: str) -> UUID | tuple[int, int]:
    from mailtopic_cli.dlq.selection import parse_place  # noqa: PLC0415
    from mailtopic_runtime import SettingError  # noqa: PLC0415

    place = parse_place(text)
    if place is not None:
        return place
    try:
        return UUID(text)
    except ValueError:
        raise SettingError(
            "ID|PARTITION/OFFSET", "must be a mail's id, or a place such as 3/120"
        ) from None


def _run(
    command: str,
    main: "Callable[[Session, DlqSettings], Awaitable[int]]",
    topic: str | None,
    bootstrap_servers: str | None,
    timeout_s: float,
) -> None:
    from mailtopic_cli.adapters.kafka import on_loop_error  # noqa: PLC0415
    from mailtopic_cli.dlq.errors import DlqError  # noqa: PLC0415
    from mailtopic_cli.dlq.settings import load_dlq_settings  # noqa: PLC0415
    from mailtopic_runtime import run_program  # noqa: PLC0415

    program = f"mailtopic dlq {command}"
    settings = load_dlq_settings(program, topic=topic, bootstrap_servers=bootstrap_servers)
    # An unreachable broker is reported in one line; the client would write one a second.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    async def run() -> int:
        asyncio.get_running_loop().set_exception_handler(on_loop_error)
        try:
            async with _open_session(settings, timeout_s) as session:
                return await main(session, settings)
        except DlqError as error:
            typer.echo(f"{program}: {error}", err=True)
            return 1

    run_program(program, run)


@asynccontextmanager
async def _open_session(settings: "DlqSettings", timeout_s: float) -> "AsyncIterator[Session]":
    from mailtopic_cli.adapters.kafka import KafkaTopicReader  # noqa: PLC0415
    from mailtopic_cli.dlq.progress import Progress  # noqa: PLC0415
    from mailtopic_cli.dlq.session import Session  # noqa: PLC0415
    from mailtopic_runtime import SystemClock  # noqa: PLC0415

    progress = Progress()
    try:
        async with KafkaTopicReader(
            settings.kafka.client_kwargs(), timeout_s=timeout_s, progress=progress
        ) as reader:
            yield Session(settings.names, settings.legacy, reader, SystemClock(), progress)
    finally:
        progress.clear()
