"""The relays of this benchmark: those of `benchmarks.pace` in real time, and Debian's Postfix."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.pace.models import DayQuota, TokenBucket
from benchmarks.pace.scenarios import Scenario, limited, others
from support.mail_servers.server import Limits

_PURE: Final = {each.name: each for rate in (1, 14, 200, 2000) for each in limited(rate)[:2]} | {
    each.name: each for each in others()
}
_RATES: Final = (
    "14/s, token bucket of 1 s",
    "14/s, any window of 1 s",
    "1/s, token bucket of 1 s",
    "200/s, token bucket of 1 s",
    "2000/s, token bucket of 1 s",
)
_NOT_RATES: Final = (
    "2 % refused at random, 200/s offered",
    "20 mails a connection, 200/s offered",
)
_FASTEST_ANSWER_S: Final = 0.01
_MINUTE_S: Final = 60


@dataclass(frozen=True)
class Trial:
    """A relay and the load.

    Attributes:
        limiter: mails a second that a sender's own limiter is set to; None: no such limit.
        limits: of a Postfix that takes the place of the scenario's models.
        quiet_s: before the load begins: Postfix counts by minutes from a client's first
            connection on, so that the minutes that are measured are its own.
    """

    scenario: Scenario
    learning_s: int
    measured_s: int
    limiter: float | None = None
    limits: Limits | None = None
    quiet_s: int = 0

    @property
    def name(self) -> str:
        return self.scenario.name

    @property
    def lasts_s(self) -> int:
        return self.learning_s + self.measured_s

    @property
    def answer_s(self) -> float:
        """How long the relay waits before it answers a mail: shorter times are real here."""
        answer_s = self.scenario.answer_s
        return answer_s if answer_s >= _FASTEST_ANSWER_S else 0.0


def trials(learning_s: int, measured_s: int) -> list[Trial]:
    """Return all of them."""

    def trial(scenario: Scenario, limiter: float | None = None) -> Trial:
        return Trial(scenario, learning_s, measured_s, limiter)

    return [
        *(trial(_PURE[name], _PURE[name].limit_per_s) for name in _RATES),
        Trial(_halving(learning_s, 3 * measured_s), learning_s, 3 * measured_s, 14),
        *(trial(_PURE[name]) for name in _NOT_RATES),
        *(trial(scenario) for scenario in _others(learning_s, measured_s)),
        *_of_postfix(measured_s),
    ]


def _halving(learning_s: int, measured_s: int) -> Scenario:
    changes = ((learning_s + measured_s / 3, 7.0), (learning_s + measured_s * 2 / 3, 14.0))
    return replace(
        _PURE["14/s, 7/s from 100 s to 200 s"],
        name="14/s, 7/s in the middle third",
        models=lambda: [TokenBucket(14, changes=changes)],
    )


def _others(learning_s: int, measured_s: int) -> Sequence[Scenario]:
    """Return those whose load is such that a sender needs several connections, and a quota."""
    a_day = 100 * (learning_s + measured_s // 2)
    capped, slow = _PURE["5 connections, 400/s offered"], _PURE["0.5 s a mail"]
    quota = Scenario(f"{a_day:,} a day, 100/s offered", lambda: [DayQuota(a_day)], 50, 100)
    return (
        _all_taken(capped, "5 connections, 0.1 s a mail, 40/s offered", 40, answer_s=0.1),
        _all_taken(slow, "0.5 s a mail, 15/s offered", 15, answer_s=0.5),
        quota,
    )


def _all_taken(scenario: Scenario, name: str, per_s: float, *, answer_s: float) -> Scenario:
    return replace(scenario, name=name, limit_per_s=per_s, offered_per_s=per_s, answer_s=answer_s)


def _of_postfix(measured_s: int) -> Sequence[Trial]:
    """Return the trials beside a relay that counts by minutes: whole minutes are measured."""
    whole_s = max(1, measured_s // _MINUTE_S) * _MINUTE_S

    def trial(
        name: str, limits: Limits, limit: float, offered: float, limiter: float | None = None
    ) -> Trial:
        scenario = Scenario(f"Postfix: {name}", list, limit, offered)
        return Trial(scenario, _MINUTE_S, whole_s, limiter, limits, _MINUTE_S + 1)

    return (
        trial("840 mails a minute", Limits(mails_per_minute=840), 14, 21, 14),
        trial("5 connections, 50/s offered", Limits(max_connections=5), 50, 50),
        trial("20 connections a minute, 20/s offered", Limits(connections_per_minute=20), 20, 20),
    )
