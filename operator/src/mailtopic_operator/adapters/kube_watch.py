"""kopf inside our own event loop: it watches, the engine decides."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import kopf

from mailtopic_operator.handlers import OnEvent, make_registry, make_settings
from mailtopic_operator.kinds import CHILD_KINDS, Kind


async def watch(
    kinds: Sequence[Kind],
    on_event: OnEvent,
    login: Callable[..., Any],
    *,
    identity: str,
    namespaces: Sequence[str],
    after_start: Callable[[], None],
) -> None:
    """Pass on every event of these kinds until cancelled.

    A deletion while no watch was open is not reported: the resync finds it.

    Args:
        kinds: all must be served; a kind that isn't served yet would never be watched.
        on_event: called in the event loop.
        login: kopf's handler for credentials.
        identity: this replica's name for kopf, which would otherwise look up the user's name; in a
            cluster that assigns uids there is none.
        namespaces: those to watch; empty: all.
        after_start: called once kopf has set its own signal handlers, to restore ours.
    """
    # Tasks that already run must not be cancelled when kopf ends.
    existing = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=make_registry(kinds, on_event, login),
        settings=make_settings(CHILD_KINDS),
        clusterwide=not namespaces,
        namespaces=tuple(namespaces),
        standalone=True,
        identity=identity,  # type: ignore[arg-type]  # kopf has no public name for the type
    )
    after_start()
    await kopf.run_tasks(tasks, ignored=existing)
