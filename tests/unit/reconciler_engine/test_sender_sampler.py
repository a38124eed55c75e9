"""How relays are, by what every sender says of them."""

from collections.abc import Mapping
from typing import Any

import pytest

from mailtopic_operator.adapters.sender_metrics import relay_readings
from mailtopic_operator.domain.observed import RelayHealth, RelayReading
from mailtopic_operator.engine.sender_sampler import SenderSampler, judge_relays
from mailtopic_operator.engine.store import Key, Store
from support.mailtopic_world import RELAY, World, spec

TWO = World(spec=spec(relays=[RELAY, {"name": "backup", "host": "backup.example.net"}])).desired


def said(answer: Mapping[str, bool]) -> dict[str, RelayReading]:
    """What a sender says whose breakers are open, or not."""
    return {name: RelayReading(is_open) for name, is_open in answer.items()}


def ill(*answers: dict[str, bool]) -> dict[str, bool]:
    """Return by relay whether it is taken to be ill."""
    found = judge_relays(TWO, [said(each) for each in answers], senders=len(answers))
    return {each.name: not each.is_healthy for each in found}


def pace(*rates: float | None, senders: int | None = None) -> tuple[bool, float | None]:
    """Return what is known of a pace when each sender has learned this."""
    answers = [{"ses": RelayReading(is_open=False, learned_per_s=rate)} for rate in rates]
    (found,) = judge_relays(TWO, answers, senders=senders or len(rates))
    return found.is_pace_known, found.learned_per_s


def test_a_relay_is_ill_when_every_sender_keeps_away_from_it() -> None:
    both = {"ses": True, "backup": False}
    assert ill(both, both) == {"ses": True, "backup": False}
    assert ill(both, {"ses": False, "backup": False}) == {"ses": False, "backup": False}


def test_a_sender_that_does_not_know_a_relay_says_nothing_about_it() -> None:
    assert ill({"ses": True}, {"backup": False}) == {"ses": True, "backup": False}
    assert ill({"former": True}) == {}
    assert judge_relays(TWO, [], senders=0) == ()
    assert judge_relays(TWO, [None], senders=1) == ()


def test_an_ill_relay_is_told_with_what_it_means() -> None:
    (found,) = judge_relays(TWO, [said({"ses": True})], senders=1)
    assert isinstance(found, RelayHealth)
    assert "every sender's breaker is open" in found.message


def test_the_pace_is_the_sum_of_all_senders_and_known_only_if_all_have_met_it() -> None:
    assert pace(5.0, 4.0, 5.0) == (True, 14.0)
    assert pace(None, None) == (True, None)
    assert pace(5.0, None) == (False, None)
    assert pace(5.0, 5.0, senders=40) == (True, 200.0)
    told = {"ses": RelayReading(is_open=False, learned_per_s=7.0)}
    (found,) = judge_relays(TWO, [told, None], senders=2)
    assert (found.is_healthy, found.is_pace_known) == (True, False)


def test_breakers_and_paces_are_found_among_all_metrics() -> None:
    text = """\
# HELP mailtopic_breaker_open 1 while mails are kept away
# TYPE mailtopic_breaker_open gauge
mailtopic_breaker_open{relay="ses",topic="mails"} 1.0
mailtopic_breaker_open{topic="mails",relay="backup"} 0.0
mailtopic_breaker_open_else{relay="x"} 1.0
mailtopic_connections{relay="y"} 4.0
mailtopic_relay_learned_mails_per_second{relay="backup",topic="mails"} 13.5
mailtopic_relay_learned_mails_per_second{relay="ses",topic="mails"} NaN
mailtopic_relay_learned_mails_per_second{relay="former",topic="mails"} 3.0
"""
    assert relay_readings(text.splitlines()) == {
        "ses": RelayReading(is_open=True),
        "backup": RelayReading(is_open=False, learned_per_s=13.5),
    }
    assert relay_readings([]) == {}


@pytest.mark.parametrize(
    "line", ['mailtopic_breaker_open{relay="x"}', 'mailtopic_breaker_open{relay="x"} many']
)
def test_what_is_no_metric_is_not_understood(line: str) -> None:
    with pytest.raises(ValueError, match="no sample"):
        relay_readings([line])


def _told(world: World) -> Any:
    world.settle()
    return world.condition("RelayHealthy")


def test_the_condition_follows_and_events_tell_of_transitions_alone() -> None:
    world = World()
    assert _told(world) == ("Unknown", "NotMeasured")
    world.relays = judge_relays(world.desired, [said({"ses": False})], senders=1)
    assert _told(world) == ("True", "Healthy")
    world.events.clear()
    world.relays = judge_relays(world.desired, [said({"ses": True})], senders=1)
    assert _told(world) == ("False", "RelayUnavailable")
    assert "ses" in world.message("RelayHealthy")
    assert _told(world) == ("False", "RelayUnavailable")
    assert world.reasons() == ["RelayUnavailable"]
    assert world.condition("Ready")[0] == "True"


class Pods:
    """One sender of each MailTopic, on a pod; `learned` is what it says."""

    def __init__(self, learned: float | None = None) -> None:
        self.learned = learned
        self.answers = True

    async def select(self, *_: object) -> list[dict[str, Any]]:
        labels = {"mailtopic.dev/mailtopic": "mails"}
        ports = [{"name": "metrics", "containerPort": 9100}]
        return [
            {
                "metadata": {"name": "sender-0", "labels": labels},
                "spec": {"containers": [{"ports": ports}]},
                "status": {"phase": "Running", "podIP": "192.0.2.1"},
            }
        ]

    async def relays(self, *_: object) -> Mapping[str, RelayReading] | None:
        reading = RelayReading(is_open=False, learned_per_s=self.learned)
        return {"ses": reading} if self.answers else None


def sampler(world: World, pods: Pods) -> tuple[SenderSampler, Key]:
    world.settle()
    world.deployment["status"]["replicas"] = 1
    store = Store()
    store.put("Deployment", world.deployment)
    return SenderSampler(pods, pods, store), Key("MailTopic", "shop", "mails")  # type: ignore[arg-type] # as much of them as is asked


async def test_noise_in_a_learned_pace_is_no_news() -> None:
    world, pods = World(), Pods(14.0)
    found, key = sampler(world, pods)
    news = []
    for rate in (14.0, 13.1, 60.0, 14.4, 14.9, 12.7, 15.2):
        pods.learned = rate
        news.append(bool(await found.sample({key: world.desired})))
    assert news == [True, False, True, False, False, False, False]
    assert found.of(key)[0].learned_per_s == 14
    for rate in (30.0, 31.0, 29.0):
        pods.learned = rate
        await found.sample({key: world.desired})
    assert found.of(key)[0].learned_per_s == 30
    pods.answers = False
    await found.sample({key: world.desired})
    assert found.of(key) == ()


def test_the_status_and_the_condition_say_what_a_relay_takes() -> None:
    world = World()
    world.relays = (RelayHealth("ses", is_healthy=True, learned_per_s=14, is_pace_known=True),)
    world.settle()
    ses = {"name": "ses", "mailsPerSecond": 14.0, "source": "Learned"}
    assert world.status["relays"] == [ses]
    assert world.message("RelayHealthy") == (
        "every relay takes mails; ses takes about 14 mails/s, learned"
    )
    for rate in (11.5, 16.6, 13.0):  # noise, and an operator that starts
        world.relays = (
            RelayHealth("ses", is_healthy=True, learned_per_s=rate, is_pace_known=True),
        )
        assert world.plan().status is None
    world.relays = ()
    world.settle()
    assert world.status["relays"] == [ses]
    world.relays = (RelayHealth("ses", is_healthy=True, is_pace_known=True),)
    world.settle()
    assert not world.status.get("relays")
    assert world.message("RelayHealthy") == "every relay takes mails"


@pytest.mark.parametrize(
    ("learned", "shown"),
    [
        (None, (60.0, "RateLimit")),
        (59.0, (60.0, "RateLimit")),
        (90.0, (60.0, "RateLimit")),
        (14.2, (14.0, "Learned")),
    ],
)
def test_a_limit_that_is_set_is_shown_as_set(
    learned: float | None, shown: tuple[float, str]
) -> None:
    world = World(spec=spec(relays=[{**RELAY, "rateLimit": "60/s"}]))
    world.relays = (RelayHealth("ses", is_healthy=True, learned_per_s=learned, is_pace_known=True),)
    world.settle()
    (relay,) = world.status["relays"]
    assert (relay["mailsPerSecond"], relay["source"]) == shown


def most(world: World) -> tuple[int, int]:
    (scaled,) = [c for ref, c in world.children.items() if ref.kind == "ScaledObject"]
    return scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]


def test_what_was_learned_bounds_the_senders_and_noise_in_it_changes_nothing() -> None:
    world = World(apis=frozenset({"ScaledObject"}))
    scaling = {"provider": "KEDA", "mailsPerSecondPerSender": 50}
    world.spec = spec(consumers={"autoscaling": scaling})
    world.settle()
    assert most(world) == (1, 6)
    for rate, bound in ((100.0, 3), (112.0, 3), (84.0, 3), (14.0, 1), (None, 6)):
        world.relays = (
            RelayHealth("ses", is_healthy=True, learned_per_s=rate, is_pace_known=True),
        )
        world.settle()
        assert most(world) == (1, bound), rate


def test_what_was_learned_bounds_nothing_below_the_least_or_beside_a_limit_that_is_set() -> None:
    world = World(apis=frozenset({"ScaledObject"}))
    world.relays = (RelayHealth("ses", is_healthy=True, learned_per_s=14, is_pace_known=True),)
    scaling = {"provider": "KEDA", "mailsPerSecondPerSender": 50, "minReplicas": 2}
    world.spec = spec(consumers={"autoscaling": scaling})
    world.settle()
    assert most(world) == (2, 2)
    world.change(relays=[{**RELAY, "rateLimit": "200/s"}])
    world.settle()
    assert most(world) == (2, 4)
    world.change(relays=[RELAY, {"name": "backup", "host": "backup.example.net"}])
    world.settle()
    assert most(world) == (2, 6)  # the other one may take any number
