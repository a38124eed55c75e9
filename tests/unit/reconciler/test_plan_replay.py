"""What is planned for a MailReplay."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from mailtopic_operator.domain.actions import ApplyChild
from mailtopic_operator.domain.observed import Failure, KubeProblemKind
from mailtopic_operator.domain.replay_planning import plan_replay
from mailtopic_operator.domain.replays import DesiredReplay, ObservedReplay
from support.mailtopic_world import START, World, merged

REPORT = '{"matched": 9, "replayed": 7, "skipped": 2}'


class ReplayWorld:
    """One MailReplay of the MailTopic mails."""

    def __init__(self, **spec: Any) -> None:
        self.spec = {"mailTopicRef": {"name": "mails"}, **spec}
        self.topic: World | None = World()
        self.status: dict[str, Any] = {}
        self.job: dict[str, Any] | None = None
        self.report: str | None = None
        self.failures: tuple[Failure, ...] = ()
        self.now: datetime = START
        self.events: list[str] = []

    def round(self) -> list[ApplyChild]:
        meta = {
            "namespace": "shop",
            "name": "again",
            "uid": "uid-of-again",
            "generation": 1,
            "creationTimestamp": "2026-11-25T11:00:00Z",
        }
        body = {"metadata": meta, "spec": self.spec, "status": self.status}
        topic = self.topic.desired if self.topic else None
        observed = ObservedReplay(self.job, self.report, self.failures)
        made = plan_replay(DesiredReplay.parse(body, topic), observed, self.now)
        if made.status is not None:
            self.status = merged(self.status, made.status.patch["status"])
            self.events += [event.reason for event in made.status.events]
        applied = [action for action in made.actions if isinstance(action, ApplyChild)]
        for action in applied:
            self.job = dict(action.manifest)
        self.now += timedelta(seconds=1)
        return applied

    def end(self, kind: str, message: str = "") -> None:
        assert self.job is not None
        condition = {"type": kind, "status": "True", "message": message}
        self.job["status"] = {"conditions": [condition]}

    def condition(self, kind: str) -> tuple[str, str]:
        found = {c["type"]: c for c in self.status["conditions"]}[kind]
        return found["status"], found["reason"]


def test_a_replay_runs_to_its_end_and_says_how_it_went() -> None:
    world = ReplayWorld()
    assert len(world.round()) == 1
    assert world.round() == []
    assert world.condition("Complete") == ("False", "Running")
    assert world.condition("Reconciling")[0] == "True"
    world.end("Complete")
    world.report = REPORT
    world.round()
    assert world.condition("Complete") == ("True", "Replayed")
    assert world.condition("Reconciling")[0] == "False"
    assert world.status["progress"] == {"matched": 9, "replayed": 7, "skipped": 2}
    assert world.status["startTime"] < world.status["completionTime"]
    assert world.events == ["Replayed"]


def test_what_has_ended_is_not_run_again_even_without_its_job() -> None:
    world = ReplayWorld()
    world.round()
    world.end("Complete")
    world.round()
    before = dict(world.status)
    world.job = world.topic = None
    assert world.round() == []
    assert world.status == before


def test_a_job_deleted_before_its_end_is_run_again() -> None:
    world = ReplayWorld()
    world.round()
    world.job = None
    assert len(world.round()) == 1


def test_a_replay_that_failed_says_why_and_stalls() -> None:
    world = ReplayWorld()
    world.round()
    world.end("Failed", "BackoffLimitExceeded")
    world.report = "mailtopic dlq replay: no broker answers\n"
    world.round()
    assert world.condition("Failed") == ("True", "ReplayFailed")
    assert world.condition("Stalled") == ("True", "ReplayFailed")
    message = world.status["conditions"][0]["message"]
    assert message.startswith("mailtopic dlq replay: no broker answers; make another")
    assert "progress" not in world.status


def test_the_filter_becomes_the_commands_options() -> None:
    world = ReplayWorld(
        filter={"classes": ["reputation", "bug"], "since": "2026-11-24T00:00:00Z"},
        ratePerSecond=5,
        dryRun=True,
    )
    (action,) = world.round()
    (container,) = action.manifest["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["mailtopic", "dlq", "replay"]
    assert container["args"] == [
        *("--yes", "--report", "/dev/termination-log"),
        *("--class", "reputation", "--class", "bug"),
        *("--since", "2026-11-24T00:00:00Z", "--rate", "5/s", "--dry-run"),
    ]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    assert env["MAILTOPIC_TOPIC"] == "mails"


def test_a_replay_waits_for_its_mailtopic() -> None:
    world = ReplayWorld()
    topic, world.topic = world.topic, None
    assert world.round() == []
    assert world.condition("Complete") == ("False", "MailTopicNotFound")
    world.topic = topic
    assert len(world.round()) == 1


@pytest.mark.parametrize("kind", [KubeProblemKind.FORBIDDEN, KubeProblemKind.REFUSED])
def test_a_job_that_is_refused_stalls_the_replay(kind: KubeProblemKind) -> None:
    world = ReplayWorld()
    world.failures = (Failure("Job/again-replay", kind, "no"),)
    world.round()
    assert world.condition("Stalled")[0] == "True"


def test_a_mailtopic_that_must_not_be_changed_is_not_replayed_onto() -> None:
    world = ReplayWorld()
    assert world.topic is not None
    world.topic.annotations["mailtopic.dev/managed"] = "false"
    assert world.round() == []
    assert world.condition("Complete") == ("False", "MailTopicUnmanaged")
