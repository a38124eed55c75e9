"""The same rules with shorter times, so that a live test takes seconds instead of minutes.

Only times are divided: ranges in brackets, offsets, `for` and intervals. Names, metrics, labels and
limits stay, and so do horizons of predictions and the number of bad mails that an alert requires: a
scaled rule is the same rule on a faster time scale.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from mailtopic_observability.rules.model import Group, Rule
from mailtopic_observability.rules.model import Recording as _Recording

_UNITS_S: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d+)(ms|s|m|h|d)")
_RANGE: Final = re.compile(r"\[(\d+(?:ms|s|m|h|d))\]")
_OFFSET: Final = re.compile(r"\boffset (\d+(?:ms|s|m|h|d))")


def scaled(groups: Iterable[Group], *, by: float, least_range_s: float) -> tuple[Group, ...]:
    """Return the groups with every time divided.

    Args:
        groups: the generated ones.
        by: 60 turns minutes into seconds.
        least_range_s: the shortest range: a rate needs at least two scrapes.
    """
    return tuple(
        replace(
            group,
            interval=_divided(group.interval, by, 0.5),
            rules=tuple(_scaled(rule, by, least_range_s) for rule in group.rules),
        )
        for group in groups
    )


def _scaled(rule: Rule, by: float, least_range_s: float) -> Rule:
    expr = _RANGE.sub(lambda found: f"[{_divided(found[1], by, least_range_s)}]", rule.expr)
    expr = _OFFSET.sub(lambda found: f"offset {_divided(found[1], by, 0.001)}", expr)
    if isinstance(rule, _Recording):
        return replace(rule, expr=expr)
    hold = rule.hold if rule.hold == "0s" else _divided(rule.hold, by, 0.001)
    return replace(rule, expr=expr, hold=hold)


def _divided(duration: str, by: float, least_s: float) -> str:
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise ValueError(f"{duration} is no duration of one unit")
    seconds = int(found[1]) * _UNITS_S[found[2]] / by
    return f"{max(round(seconds * 1000), round(least_s * 1000))}ms"
