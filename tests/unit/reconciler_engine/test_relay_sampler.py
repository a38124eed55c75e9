"""How relays are, by what every sender says of its breakers."""

from typing import Any

import pytest

from mailtopic_operator.adapters.sender_metrics import open_breakers
from mailtopic_operator.domain.observed import RelayHealth
from mailtopic_operator.engine.relay_sampler import judge_relays
from support.mailtopic_world import RELAY, World, spec

TWO = World(spec=spec(relays=[RELAY, {"name": "backup", "host": "backup.example.net"}])).desired


def ill(*answers: dict[str, bool]) -> dict[str, bool]:
    """Return by relay whether it is taken to be ill."""
    return {each.name: not each.is_healthy for each in judge_relays(TWO, answers)}


def test_a_relay_is_ill_when_every_sender_keeps_away_from_it() -> None:
    both = {"ses": True, "backup": False}
    assert ill(both, both) == {"ses": True, "backup": False}
    assert ill(both, {"ses": False, "backup": False}) == {"ses": False, "backup": False}


def test_a_sender_that_does_not_know_a_relay_says_nothing_about_it() -> None:
    assert ill({"ses": True}, {"backup": False}) == {"ses": True, "backup": False}
    assert ill({"former": True}) == {}
    assert judge_relays(TWO, []) == ()


def test_an_ill_relay_is_told_with_what_it_means() -> None:
    (found,) = judge_relays(TWO, [{"ses": True}])
    assert isinstance(found, RelayHealth)
    assert "every sender's breaker is open" in found.message


def test_breakers_are_found_among_all_metrics() -> None:
    text = """\
# HELP mailtopic_breaker_open 1 while mails are kept away
# TYPE mailtopic_breaker_open gauge
mailtopic_breaker_open{relay="ses",topic="mails"} 1.0
mailtopic_breaker_open{topic="mails",relay="backup"} 0.0
mailtopic_breaker_open_else{relay="x"} 1.0
mailtopic_connections{relay="y"} 4.0
"""
    assert open_breakers(text.splitlines()) == {"ses": True, "backup": False}
    assert open_breakers([]) == {}


@pytest.mark.parametrize(
    "line", ['mailtopic_breaker_open{relay="x"}', 'mailtopic_breaker_open{relay="x"} many']
)
def test_what_is_no_metric_is_not_understood(line: str) -> None:
    with pytest.raises(ValueError, match="no sample"):
        open_breakers([line])


def _told(world: World) -> Any:
    world.settle()
    return world.condition("RelayHealthy")


def test_the_condition_follows_and_events_tell_of_transitions_alone() -> None:
    world = World()
    assert _told(world) == ("Unknown", "NotMeasured")
    world.relays = judge_relays(world.desired, [{"ses": False}])
    assert _told(world) == ("True", "Healthy")
    world.events.clear()
    world.relays = judge_relays(world.desired, [{"ses": True}])
    assert _told(world) == ("False", "RelayUnavailable")
    assert "ses" in world.message("RelayHealthy")
    assert _told(world) == ("False", "RelayUnavailable")
    assert world.reasons() == ["RelayUnavailable"]
    assert world.condition("Ready")[0] == "True"
