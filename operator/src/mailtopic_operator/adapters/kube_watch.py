"""kopf inside our own event loop: it watches, we decide."""

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
    """Hand on every event of these kinds until cancelled.

    What was deleted while no watch was open is never told of: that is the resync's business.

    Args:
        kinds: served, all of them; what isn't served yet would never be watched.
        on_event: called in the event loop.
        login: kopf's handler for credentials.
        identity: this replica's name for kopf, which would otherwise look for the user's name; a
            cluster that assigns uids has none.
        namespaces: those that are watched; empty: all.
        after_start: called when kopf has set its own signal handlers, to set ours again.
    """
    # Whatever runs already isn't kopf's to cancel when it ends.
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
