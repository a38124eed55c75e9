"""The command `mailtopic trace` and its options."""

import logging
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, NoReturn
from uuid import UUID

import typer

if TYPE_CHECKING:
    from mailtopic_cli.dlq.settings import DlqSettings
    from mailtopic_cli.trace.log_lines import Wanted
    from mailtopic_cli.trace.reading import KafkaTopics
    from mailtopic_cli.trace.story import Story
    from mailtopic_contract import Address

PROGRAM = "mailtopic trace"
_IN_MEMORY_BYTES = 16_777_216
_UNKNOWN = 1
_WRONG = 2


def trace_command(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="A mail's id; with --logs also a signup's id or a trace's.",
            show_default=False,
        ),
    ] = None,
    *,
    recipient: Annotated[
        bool,
        typer.Option(
            "--recipient",
            help="Show all mails to an address instead. It is prompted for, or read from standard "
            "input: as an argument it would stay in the shell's history.",
        ),
    ] = False,
    logs: Annotated[
        list[str] | None,
        typer.Option(
            help="A file with logs of senders and signup in JSON, or - for standard input; "
            "may be given several times."
        ),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="The main topic.", show_default="MAILTOPIC_TOPIC")
    ] = None,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(
            "--bootstrap-servers",
            help="Bootstrap brokers, host:port,host:port.",
            show_default="MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Read only Kafka's records from this time on, which is faster: "
            "2026-01-31T12:00:00Z, or 10m ago."
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds to wait for a broker that does not answer.")
    ] = 30.0,
    offline: Annotated[
        bool, typer.Option("--offline", help="Don't query Kafka; use only --logs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the events of a mail in order: no address, no code.

    It reads the topic, its .status and its .dlq, and changes nothing. Log lines add the times of
    each stage, the relays' codes and the pods:

        kubectl logs deploy/SENDER --tail=-1 | mailtopic trace ID --logs -

    Kafka keeps the last outcome of each mail for long, and earlier ones only until it compacts the
    status topic: about older mails, logs have more. Each line's time is by the clock of the machine
    that wrote it. Kafka's address comes from the same places as for `mailtopic dlq`.

    The exit code is 0; 1 when nothing is known of the id, or no broker answers; 2 for a wrong
    option.
    """
    from mailtopic_cli.dlq.errors import DlqError  # noqa: PLC0415
    from mailtopic_cli.dlq.selection import parse_moment  # noqa: PLC0415
    from mailtopic_cli.trace.log_lines import parse_wanted  # noqa: PLC0415
    from mailtopic_runtime import SettingError, SystemClock, run_program  # noqa: PLC0415

    if recipient == (which is not None):
        _end("ID: is needed, or --recipient instead of it")
    if recipient and (offline or "-" in (logs or ())):
        _end("--recipient: asks Kafka and reads standard input: not with --offline or --logs -")
    if offline and not logs:
        _end("--offline: needs --logs")
    wanted = parse_wanted(which) if which is not None else _ask_address()
    if wanted is None:
        _end("ID: must be a mail's id, such as 0b7e9a52-7d43-4f0e-9d8c-1f6b2a3c4d5e")
    try:
        since_ms = parse_moment("--since", since, now_ms=SystemClock().now_ms())
    except SettingError as error:
        _end(str(error))
    kafka = None if offline else _Kafka(topic, bootstrap_servers, timeout, since_ms)
    settings = kafka.settings() if kafka else None

    async def run() -> int:
        with ExitStack() as stack:
            files = {name: _open(stack, name) for name in logs or ()}
            try:
                stories = await _tell(wanted, tuple(files.values()), kafka, settings)
            except DlqError as error:
                typer.echo(f"{PROGRAM}: {error}", err=True)
                return _UNKNOWN
            _tell_silent_logs(files, stories)
        return _print(which or "this address", stories, as_json=as_json)

    run_program(PROGRAM, run)


@dataclass(frozen=True, slots=True)
class _Kafka:
    """How to query Kafka."""

    topic: str | None
    bootstrap_servers: str | None
    timeout_s: float
    since_ms: int | None

    def settings(self) -> "DlqSettings":
        from mailtopic_cli.dlq.settings import load_dlq_settings  # noqa: PLC0415

        return load_dlq_settings(
            PROGRAM, topic=self.topic, bootstrap_servers=self.bootstrap_servers
        )

    @asynccontextmanager
    async def topics(self, settings: "DlqSettings") -> "AsyncIterator[KafkaTopics]":
        from mailtopic_cli.adapters.kafka import KafkaTopicReader  # noqa: PLC0415
        from mailtopic_cli.dlq.progress import Progress  # noqa: PLC0415
        from mailtopic_cli.trace.reading import KafkaTopics  # noqa: PLC0415

        # An unreachable broker is reported in one line; the client would write one a second.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        progress = Progress()
        try:
            async with KafkaTopicReader(
                settings.kafka.client_kwargs(), timeout_s=self.timeout_s, progress=progress
            ) as reader:
                yield KafkaTopics(settings.names, settings.legacy, reader, progress, self.since_ms)
        finally:
            progress.clear()


async def _tell(
    wanted: "Wanted | Address",
    files: Sequence[IO[str]],
    kafka: _Kafka | None,
    settings: "DlqSettings | None",
) -> "list[Story]":
    """Return the stories of all mails with any records, oldest first."""
    from mailtopic_cli.trace.log_lines import Wanted, mails_of, moments_of  # noqa: PLC0415
    from mailtopic_cli.trace.reading import Known  # noqa: PLC0415
    from mailtopic_cli.trace.story import Story, in_order  # noqa: PLC0415

    mail_ids = mails_of(_lines(files), wanted) if isinstance(wanted, Wanted) else frozenset()
    found: dict[UUID, Known] = {}
    if kafka is not None and settings is not None:
        async with kafka.topics(settings) as topics:
            if not isinstance(wanted, Wanted):
                mail_ids = await topics.mails_to(wanted)
            found = await topics.search(mail_ids)
    logged = moments_of(_lines(files), mail_ids)
    stories: list[Story] = []
    for mail_id in mail_ids:
        known = found.get(mail_id, Known())
        moments = in_order([*known.moments, *logged[mail_id]])
        if moments:
            topic = settings.topic if settings else None
            stories.append(
                Story(mail_id, topic, moments, known.accepted_at_ms, known.expires_at_ms)
            )
    return sorted(stories, key=lambda story: story.moments[0].at_ms)


def _tell_silent_logs(files: Mapping[str, IO[str]], stories: "Sequence[Story]") -> None:
    """Report each log file without anything about the mail, with the reason."""
    from mailtopic_cli.trace.log_lines import moments_of, why_silent  # noqa: PLC0415

    mail_ids = frozenset(story.mail_id for story in stories)
    for name, file in files.items():
        if not any(moments_of(_lines([file]), mail_ids).values()):
            reason = why_silent(_lines([file]))
            typer.echo(f"{PROGRAM}: --logs {name} adds nothing: {reason}", err=True)


def _ask_address() -> "Address":
    from mailtopic_contract import ContractError, parse_address  # noqa: PLC0415

    is_terminal = sys.stdin.isatty()
    text = typer.prompt("Address", err=True) if is_terminal else sys.stdin.readline()
    try:
        return parse_address(text.strip())
    except ContractError as error:
        _end(f"--recipient: {error}")


def _print(which: str, stories: "Sequence[Story]", *, as_json: bool) -> int:
    from mailtopic_cli.trace.printing import document, lines_of  # noqa: PLC0415
    from mailtopic_runtime import SystemClock  # noqa: PLC0415

    now_ms = SystemClock().now_ms()
    if as_json:
        typer.echo(document(stories))
    for number, story in enumerate(() if as_json else stories):
        typer.echo(("\n" if number else "") + "\n".join(lines_of(story, now_ms=now_ms)))
    if not stories:
        typer.echo(
            f"{PROGRAM}: nothing is known of {which}: check the id, --topic and --since. Kafka "
            "removes records after their retention time; older logs may have more",
            err=True,
        )
    return 0 if stories else _UNKNOWN


def _open(stack: ExitStack, name: str) -> IO[str]:
    """Open logs so that they can be read twice."""
    if name != "-":
        try:
            return stack.enter_context(Path(name).open(encoding="utf-8", errors="replace"))
        except OSError as error:
            _end(f"--logs: {name} can't be read: {error.strerror}")
    kept = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - the stack closes it
        _IN_MEMORY_BYTES, "w+", encoding="utf-8", errors="replace"
    )
    stack.enter_context(kept)
    shutil.copyfileobj(sys.stdin, kept)
    return kept


def _lines(files: Iterable[IO[str]]) -> Iterator[str]:
    for file in files:
        file.seek(0)
        yield from file


def _end(problem: str) -> NoReturn:
    typer.echo(f"{PROGRAM}: {problem}", err=True)
    raise typer.Exit(_WRONG)
