"""What is planned for a MailReplay."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from mailtopic_operator.domain.actions import ApplyChild
from mailtopic_operator.domain.observed import Claimant, Failure, KubeProblemKind
from mailtopic_operator.domain.replay_planning import plan_invalid_replay, plan_replay
from mailtopic_operator.domain.replays import DesiredReplay, ObservedReplay, newest_report
from support.mailtopic_world import START, World, merged

REPORT = '{"matched": 9, "replayed": 7, "skipped": 2}'


class ReplayWorld:
    """One MailReplay of the MailTopic mails."""

    def __init__(self, **spec: Any) -> None:
        self.spec = {"mailTopicRef": {"name": "mails"}, **spec}
        self.topic: World | None = World()
        self.topic.settle()
        self.status: dict[str, Any] = {}
        self.job: dict[str, Any] | None = None
        self.is_name_taken = False
        self.ahead: str | None = None
        self.report: str | None = None
        self.failures: tuple[Failure, ...] = ()
        self.now: datetime = START
        self.events: list[str] = []
        self.messages: list[str] = []

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
        observed = ObservedReplay(
            self.job,
            is_name_taken=self.is_name_taken,
            ahead=self.ahead,
            report=self.report,
            failures=self.failures,
        )
        made = plan_replay(DesiredReplay.parse(body, topic), observed, self.now)
        if made.status is not None:
            self.status = merged(self.status, made.status.patch["status"])
            self.events += [event.reason for event in made.status.events]
            self.messages += [event.message for event in made.status.events]
        applied = [action for action in made.actions if isinstance(action, ApplyChild)]
        for action in applied:
            self.job = dict(action.manifest)
        self.now += timedelta(seconds=1)
        return applied

    def end(self, kind: str, message: str = "") -> None:
        condition = {"type": kind, "status": "True", "message": message}
        self.tell(conditions=[condition])

    def tell(self, **status: Any) -> None:
        """Give the Job a status, as the Job controller does."""
        assert self.job is not None
        self.job["status"] = status

    def message(self) -> str:
        return str(self.status["conditions"][0]["message"])

    def condition(self, kind: str) -> tuple[str, str]:
        found = {c["type"]: c for c in self.status["conditions"]}[kind]
        return found["status"], found["reason"]


def test_a_replay_runs_to_its_end_and_says_how_it_went() -> None:
    world = ReplayWorld()
    assert len(world.round()) == 1
    assert world.round() == []
    assert world.condition("Complete") == ("False", "Starting")
    world.tell(active=1, ready=1)
    world.round()
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
    assert world.messages == ["every letter has been dealt with: 7 of 9 mails replayed"]


def test_a_dry_run_says_what_would_be_replayed() -> None:
    world = ReplayWorld(dryRun=True)
    world.round()
    world.end("Complete")
    world.report = REPORT
    world.round()
    assert world.condition("Complete") == ("True", "Counted")
    assert world.messages == ["nothing was replayed: 7 of 9 mails would be replayed"]


def test_a_pod_that_has_just_ended_is_no_pod_that_has_not_begun() -> None:
    world = ReplayWorld()
    world.round()
    for status in ({"active": 1, "ready": 1}, {"active": 1, "ready": 0}):
        world.tell(**status)
        world.round()
        assert world.condition("Complete") == ("False", "Running")


def test_a_run_that_failed_is_told_of_while_the_next_one_goes_on() -> None:
    world = ReplayWorld()
    world.round()
    world.tell(active=1, failed=1)
    world.report = "mailtopic dlq replay: no broker answers\n"
    world.round()
    assert world.condition("Complete") == ("False", "Running")
    assert (
        world.message() == "run 2; the one before it said: mailtopic dlq replay: no broker answers"
    )
    assert world.events == []


@pytest.mark.parametrize("report", ["", "{", "[]", '{"level": "error"}', '{"matched": 1}'])
def test_what_is_no_report_is_not_taken_for_one(report: str) -> None:
    world = ReplayWorld()
    world.round()
    world.end("Complete")
    world.report = report
    world.round()
    assert world.condition("Complete") == ("True", "Replayed")
    assert "progress" not in world.status


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
    assert world.message().startswith("mailtopic dlq replay: no broker answers; make another")
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


@pytest.mark.parametrize(
    ("name", "value"), [("mailtopic.dev/managed", "false"), ("mailtopic.dev/dry-run", "true")]
)
def test_a_mailtopic_that_must_not_be_changed_is_not_replayed_onto(name: str, value: str) -> None:
    world = ReplayWorld()
    assert world.topic is not None
    world.topic.annotations[name] = value
    assert world.round() == []
    assert world.condition("Complete") == ("False", "MailTopicUnmanaged")
    del world.topic.annotations[name]
    assert len(world.round()) == 1


def test_a_paused_mailtopic_is_replayed_onto_when_it_goes_on() -> None:
    world = ReplayWorld()
    assert world.topic is not None
    world.topic.change(paused=True)
    assert world.round() == []
    assert world.condition("Complete") == ("False", "MailTopicPaused")
    world.topic.change(paused=False)
    assert len(world.round()) == 1


def test_a_mailtopic_that_is_being_deleted_is_not_replayed_onto() -> None:
    world = ReplayWorld()
    assert world.topic is not None
    world.topic.deleting_since = START
    assert world.round() == []
    assert world.condition("Complete") == ("False", "MailTopicNotFound")


def test_dead_letters_of_a_topic_that_is_another_mailtopics_are_left_alone() -> None:
    other = Claimant("forum", "older", "u", START - timedelta(days=1), frozenset({"mails"}))
    world = ReplayWorld()
    world.topic = World(claimants=(other,))
    world.topic.settle()
    assert world.topic.condition("TopicsReady") == ("False", "TopicConflict")
    assert world.round() == []
    assert world.condition("Complete") == ("False", "WaitingForTopics")


def test_a_job_runs_to_its_end_without_its_mailtopic() -> None:
    world = ReplayWorld()
    world.round()
    world.topic = None
    world.end("Complete")
    world.round()
    assert world.condition("Complete") == ("True", "Replayed")


def test_an_older_replay_of_the_same_mailtopic_is_waited_for() -> None:
    world = ReplayWorld()
    world.ahead = "older"
    assert world.round() == []
    assert world.condition("Complete") == ("False", "WaitingForReplay")
    assert "MailReplay older" in world.message()
    world.ahead = None
    assert len(world.round()) == 1


def test_a_job_of_an_earlier_replay_of_the_same_name_is_waited_for() -> None:
    world = ReplayWorld()
    world.is_name_taken = True
    assert world.round() == []
    assert world.condition("Complete") == ("False", "WaitingForName")
    assert world.events == []
    world.is_name_taken = False
    assert len(world.round()) == 1


def test_a_replay_that_can_not_be_understood_says_so_once() -> None:
    meta = {
        "namespace": "shop",
        "name": "again",
        "uid": "u",
        "creationTimestamp": "2026-11-25T11:00:00Z",
    }
    body: dict[str, Any] = {"metadata": meta, "spec": {}}
    made = plan_invalid_replay(body, "mailTopicRef: Field required", START)
    assert made.status is not None
    assert [event.reason for event in made.status.events] == ["InvalidSpec"]
    body["status"] = merged({}, made.status.patch["status"])
    assert plan_invalid_replay(body, "mailTopicRef: Field required", START).is_settled


def test_the_report_is_that_of_the_container_that_ended_last() -> None:
    def pod(*states: dict[str, Any]) -> dict[str, Any]:
        return {"status": {"containerStatuses": [{"name": "x", "state": s} for s in states]}}

    pods = [
        pod({"terminated": {"finishedAt": "2026-11-25T11:00:05Z", "message": "newer"}}),
        pod({"terminated": {"finishedAt": "2026-11-25T11:00:01Z", "message": "older"}}),
        pod({"running": {}}),
        {},
    ]
    assert newest_report(pods) == "newer"
    assert newest_report(pods[2:]) is None
