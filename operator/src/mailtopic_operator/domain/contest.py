"""Another writer that undoes what the operator writes, again and again."""

from collections.abc import Sequence
from datetime import datetime

from mailtopic_operator.domain.actions import Action, Side, side, target, write_id
from mailtopic_operator.domain.findings import Finding, stalled
from mailtopic_operator.domain.observed import Observed


def held_until(action: Action, observed: Observed, now: datetime) -> datetime | None:
    """Return until when an action isn't repeated; None if it may be done now."""
    until = observed.held.get(write_id(action) or "")
    return until if until is not None and until > now else None


def contested(
    observed: Observed, due: Sequence[Action], now: datetime, *, where: Side
) -> Finding | None:
    """Return the finding for what another writer keeps changing; None if there is none."""
    for action in due:
        if side(action) is where and held_until(action, observed, now) is not None:
            return stalled("Contested", _words(action))
    return None


def _words(action: Action) -> str:
    said = action.event.message if action.event else f"{target(action)} is changed by others"
    return f"{said}, but only now and then, for it is changed again each time: end one of the two"
