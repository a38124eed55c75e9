"""MailReplays against a real API server and a real Kafka; the Jobs are run by the tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from support.api_server import ApiServer, running_api_server
from support.conditions import until
from support.kafka_records import read_everything
from support.operator_replays import Replays, bury
from support.operators import CRDS, Operators, operators


@pytest.fixture
def replays(mail_operators: Operators, tmp_path: Path) -> Replays:
    return Replays(mail_operators, tmp_path)


async def with_dead_letters(replays: Replays, topic: str, *classes: str) -> None:
    await replays.operators.started()
    replays.operators.create(topic)
    await replays.operators.is_ready(topic)
    await bury(replays.operators.servers, topic, *classes)


async def test_a_replay_is_counted_first_and_then_done_once(replays: Replays, topic: str) -> None:
    await with_dead_letters(replays, topic, "reputation", "reputation", "bug")
    wanted = {"filter": {"classes": ["reputation"]}}
    servers = replays.operators.servers

    replays.create("count", topic, dryRun=True, **wanted)
    await replays.run("count")
    await replays.becomes("count", "True", "Counted")
    assert replays.status("count")["progress"] == {"matched": 2, "replayed": 2, "skipped": 0}
    assert await read_everything(servers, topic, topic) == []

    replays.create("again", topic, ratePerSecond=50, **wanted)
    await replays.run("again")
    await replays.becomes("again", "True", "Replayed")
    assert replays.status("again")["progress"] == {"matched": 2, "replayed": 2, "skipped": 0}
    assert len(await read_everything(servers, topic, topic)) == 2

    replays.create("once-more", topic)
    await replays.run("once-more")
    await replays.becomes("once-more", "True", "Replayed")
    assert replays.status("once-more")["progress"] == {"matched": 3, "replayed": 1, "skipped": 2}
    await until(lambda: len(replays.events("again")) > 1, "the events are written")
    assert replays.events("again") == ["ReplayStarted", "Replayed"]
    columns = replays.operators.kubectl("get", "mr", "once-more", "--no-headers").split()
    assert columns[1:6] == [topic, "3", "1", "2", "True"]


async def test_a_replay_waits_for_its_mailtopic_and_for_the_end_of_a_pause(
    replays: Replays, topic: str
) -> None:
    await replays.operators.started()
    replays.create("again", topic)
    await replays.becomes("again", "False", "MailTopicNotFound")
    replays.operators.create(topic, paused=True)
    await replays.becomes("again", "False", "MailTopicPaused")
    assert replays.job("again") is None
    replays.operators.create(topic)
    job = await replays.started("again")
    await replays.becomes("again", "False", "Starting")
    replays.tell(job, active=1, ready=1)
    await replays.becomes("again", "False", "Running")


async def test_a_run_that_fails_is_told_of_in_its_own_words(replays: Replays, topic: str) -> None:
    await with_dead_letters(replays, topic)
    replays.create("again", topic)
    job = await replays.started("again")
    replays.end_pod(job, code=1, message="mailtopic dlq replay: no broker answers\n")
    replays.tell(job, active=1, failed=1)
    said = "run 2; the one before it said: mailtopic dlq replay: no broker answers"
    await until(lambda: replays.message("again") == said, "the failed run is told of")
    replays.end_job(job, is_good=False)
    await replays.becomes("again", "False", "ReplayFailed")
    assert replays.condition("again", "Failed")[0] == "True"
    assert replays.condition("again", "Stalled")[0] == "True"


async def test_what_has_ended_is_not_done_again_by_the_next_operator(
    replays: Replays, topic: str
) -> None:
    await with_dead_letters(replays, topic, "bug")
    replays.create("again", topic)
    await replays.run("again")
    await replays.becomes("again", "True", "Replayed")
    await replays.operators.replicas[0].kill()
    replays.operators.kubectl("delete", "job/again-replay")
    await replays.operators.started()
    replays.create("marker", topic)
    await replays.started("marker")
    assert replays.job("again") is None


async def test_a_replay_that_was_interrupted_by_a_crash_keeps_its_one_job(
    replays: Replays, topic: str
) -> None:
    await with_dead_letters(replays, topic, "bug")
    replays.create("again", topic)
    uid = (await replays.started("again"))["metadata"]["uid"]
    await replays.operators.replicas[0].kill()
    await replays.run("again")
    await replays.operators.started()
    await replays.becomes("again", "True", "Replayed")
    job = replays.job("again")
    assert job is not None
    assert job["metadata"]["uid"] == uid


async def test_of_two_replays_of_a_mailtopic_the_younger_one_waits(
    replays: Replays, topic: str
) -> None:
    await with_dead_letters(replays, topic, "bug")
    replays.create("a", topic)
    older = await replays.started("a")
    replays.create("b", topic)
    replays.create("count", topic, dryRun=True)
    await replays.started("count")
    await replays.becomes("b", "False", "WaitingForReplay")
    assert replays.job("b") is None
    replays.end_pod(older, code=0, message='{"matched": 1, "replayed": 1, "skipped": 0}')
    replays.end_job(older, is_good=True)
    await replays.becomes("a", "True", "Replayed")
    await replays.started("b")
    replays.create("c", topic)
    await replays.becomes("c", "False", "WaitingForReplay")
    replays.operators.kubectl("delete", "mailreplay/b")
    await replays.started("c")


async def test_a_job_of_the_name_that_is_somebody_elses_is_left_alone(
    replays: Replays, topic: str
) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}
    replays.operators.server.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "again-replay", "namespace": replays.operators.namespace},
            "spec": {"backoffLimit": 1, "template": {"spec": pod}},
        }
    )
    await with_dead_letters(replays, topic)
    replays.create("again", topic)
    await replays.becomes("again", "False", "Forbidden")
    assert "is there already and isn't ours" in replays.message("again")
    replays.operators.kubectl("delete", "job/again-replay", "--cascade=orphan", "--wait=false")
    await until(lambda: _is_ours(replays), "the replay has a Job of its own")


def _is_ours(replays: Replays) -> bool:
    job = replays.job("again") or {"metadata": {}}
    if "orphan" in job["metadata"].get("finalizers", ()):
        # Nobody collects garbage here.
        replays.operators.kubectl(
            *("patch", "job/again-replay", "--type=merge", "-p"),
            '{"metadata": {"finalizers": null}}',
        )
    return bool(job["metadata"].get("ownerReferences"))


@pytest.fixture
def older_api_server(tmp_path: Path) -> Iterator[ApiServer]:
    """An API server with the CRD of MailTopic alone."""
    for server in running_api_server(tmp_path / "api", "integration"):
        server.kubectl("apply", "-f", str(CRDS / "mailtopics.mailtopic.dev.yaml"))
        server.serves_crds()
        yield server


async def test_without_the_crd_mailtopics_are_looked_after_and_no_replay_is_missed(
    older_api_server: ApiServer, kafka: KafkaNode, topic: str, tmp_path: Path
) -> None:
    async with operators(tmp_path, older_api_server, kafka.bootstrap_servers) as found:
        replica = await found.started()
        found.create(topic)
        await found.is_ready(topic)
        assert replica.metric("mailtopic_operator_reconciles_total", result="failed") == 0
        older_api_server.kubectl("apply", "-f", str(CRDS / "mailreplays.mailtopic.dev.yaml"))
        older_api_server.serves_crds()
        await replica.stop()
        await found.started()
        replays = Replays(found, tmp_path)
        replays.create("again", topic)
        await replays.started("again")
