"""The steps of `mailtopic dlq replay`: take over, plan, confirm, put back, report."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import typer

from mailtopic_cli.dlq.errors import DlqError, TopicMissing
from mailtopic_cli.dlq.plan import ReplayPlan
from mailtopic_cli.dlq.planning import make_plan
from mailtopic_cli.dlq.ports import ReplayWriter
from mailtopic_cli.dlq.replay import Replay
from mailtopic_cli.dlq.selection import Selection
from mailtopic_cli.dlq.session import Session

EXIT_INTERRUPTED = 130

Ask = Callable[[str, asyncio.Event], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The user's options.

    Attributes:
        superseding: purposes for which a newer mail supersedes older ones.
        rate: mails a second; None: as fast as the broker takes them.
        ask: asks the user before anything is put back; None: don't ask.
        report: a file for the counts as JSON. With a report, it is no failure that nothing matches.
            None: don't write it.
    """

    selection: Selection
    superseding: Collection[str]
    is_dry_run: bool = False
    rate: float | None = None
    ask: Ask | None = None
    report: Path | None = None

    def tell(self, plan: ReplayPlan, replayed: int) -> None:
        """Write the counts, if a report was requested."""
        if self.report is not None:
            counts = {
                "matched": plan.matched,
                "replayed": replayed,
                "skipped": plan.skipped.total(),
            }
            self.report.write_text(json.dumps(counts), encoding="utf-8")


async def replay_letters(
    session: Session, writer: ReplayWriter, options: ReplayOptions, *, stop: asyncio.Event
) -> int:
    """Replay the selected letters; return the exit code.

    Raises:
        DlqError: it could not be finished; mails put back before that stay recorded as replayed.
    """
    for topic in (session.names.main, session.names.status):
        if not await session.reader.partitions(topic):
            raise TopicMissing(f"the topic {topic} does not exist: a replay needs it")
    if not options.is_dry_run:
        # Before anything is read: from here on, an earlier replay can't store anything, and what it
        # stored is visible.
        await writer.open()
    with ReplayPlan() as plan:
        await make_plan(session, plan, options.selection, superseding=options.superseding)
        if not plan.matched:
            typer.echo(f"No dead letters match in {session.names.dlq}.")
            options.tell(plan, 0)
            return 1 if options.report is None else 0
        planned = _planned(plan)
        if options.is_dry_run:
            typer.echo(f"Would replay {planned}{_skipped(plan)}; nothing was changed.")
            options.tell(plan, plan.planned)
            return 0
        if plan.planned and options.ask is not None:
            question = f"Replay {planned} onto {session.names.main}{_skipped(plan)}? [y/N] "
            if not await options.ask(question, stop):
                typer.echo("Nothing was changed.")
                return EXIT_INTERRUPTED if stop.is_set() else 0
        replay = Replay(session, plan, writer, rate=options.rate, stop=stop)
        code = await _put_back(session, replay)
        options.tell(plan, replay.done.mails)
        return code


async def _put_back(session: Session, replay: Replay) -> int:
    try:
        done = await replay.run()
    except DlqError:
        session.progress.clear()
        typer.echo(f"Replayed {replay.done.mails:,} mails before it had to stop.")
        raise
    session.progress.clear()
    text = f"Replayed {done.mails:,} mails onto {session.names.main}{_skipped(replay.plan)}"
    if done.is_interrupted:
        typer.echo(f"{text}; interrupted: the same command continues from here.")
        return EXIT_INTERRUPTED
    typer.echo(f"{text}.")
    return 0


def _planned(plan: ReplayPlan) -> str:
    classes = ", ".join(f"{count:,} {name}" for name, count in plan.by_class().items())
    return f"{plan.planned:,} mails" + (f" ({classes})" if classes else "")


def _skipped(plan: ReplayPlan) -> str:
    if not plan.skipped:
        return ""
    reasons = ", ".join(f"{count:,} {skip.value}" for skip, count in sorted(plan.skipped.items()))
    return f", skip {plan.skipped.total():,}: {reasons}"


async def ask_on_terminal(question: str, stop: asyncio.Event) -> bool:
    """Ask on the terminal; anything but yes, or an interruption, is a no."""
    sys.stderr.write(question)
    sys.stderr.flush()
    loop = asyncio.get_running_loop()
    answered = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), answered.set)
    waiting = [asyncio.ensure_future(event.wait()) for event in (answered, stop)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(sys.stdin.fileno())
        for task in waiting:
            task.cancel()
    if stop.is_set():
        sys.stderr.write("\n")
        return False
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
