"""Many MailTopics at once: how long, how many requests, how much memory."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.conditions import until
from support.operators import OperatorProcess, Operators, mail_topic

Figure = Callable[[str], None]
MAX_RESIDENT_MB = 256
# The lease as it is shipped: the tests' short one would be lost on a disk that is kept busy.
_SETTINGS = {
    "reconcile__resync_s": "3600",
    "reconcile__sample_s": "3600",
    "lease__duration_s": "15",
    "lease__renew_s": "2",
}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.guarantees)], ids=str)
async def test_many_mailtopics_are_made_kept_changed_and_deleted(
    mail_operators: Operators, tmp_path: Path, topic: str, count: int, figure: Figure
) -> None:
    found = mail_operators
    replica = await found.started(**_SETTINGS)
    counted = Requests(replica)

    started_s = time.monotonic()
    apply(found, tmp_path, topic, count)
    applied_s = time.monotonic() - started_s
    await until(lambda: ready(found, replica) == count, "all are Ready", timeout_s=600)
    took_s = time.monotonic() - started_s
    rate = count * 6 / took_s
    figure(
        f"{count} MailTopics, {count * 6} topics: applied in {applied_s:.1f} s, all Ready after"
        f" {took_s:.1f} s ({rate:.0f} topics/s); {counted.since()}; {replica.resident_mb:.0f} MB"
    )
    await quiet(replica)
    figure(f"after it: {counted.since()}; {replica.resident_mb:.0f} MB")

    await replica.stop()
    replica = await found.started(**_SETTINGS)
    counted = Requests(replica)
    started_s = time.monotonic()
    await until(lambda: unchanged(replica) >= count, "all were looked at", timeout_s=300)
    figure(
        f"a start with nothing to do: {time.monotonic() - started_s:.1f} s; {counted.since()};"
        f" {replica.resident_mb:.0f} MB"
    )
    await quiet(replica)
    for verb in ("patch", "post", "delete"):
        assert replica.metric("mailtopic_operator_api_requests_total", verb=verb) == 0

    counted = Requests(replica)
    started_s = time.monotonic()
    apply(found, tmp_path, topic, count, retention="24h")
    await until(
        lambda: ready(found, replica, generation=2) == count, "all are changed", timeout_s=600
    )
    figure(f"a config change of all: {time.monotonic() - started_s:.1f} s; {counted.since()}")

    started_s = time.monotonic()
    found.kubectl("delete", "mailtopics.mailtopic.dev", "--all", "--wait=true", "--timeout=300s")
    figure(f"deletion of all: {time.monotonic() - started_s:.1f} s")
    # Brokers that take longer than 2 s to show what was done are looked at again, with a pause.
    repeated = replica.metric("mailtopic_operator_reconciles_total", result="failed")
    figure(f"looked at again because of slow brokers: {repeated:.0f} of {count}")
    actions = "mailtopic_operator_actions_total"
    assert replica.metric(actions) == replica.metric(actions, result="done")
    assert replica.resident_mb < MAX_RESIDENT_MB


class Requests:
    """What a replica has asked for since it was last told of."""

    def __init__(self, replica: OperatorProcess) -> None:
        self._replica = replica
        self._before = self._now()

    def since(self) -> str:
        now = self._now()
        words = [f"{now[name] - self._before[name]:.0f} {name}" for name in now]
        self._before = now
        return ", ".join(words)

    def _now(self) -> dict[str, float]:
        verbs = ("get", "post", "patch", "delete")
        api = "mailtopic_operator_api_requests_total"
        counted = {f"API {verb}": self._replica.metric(api, verb=verb) for verb in verbs}
        counted["Kafka admin"] = self._replica.metric("mailtopic_operator_admin_requests_total")
        return counted


def apply(found: Operators, directory: Path, name: str, count: int, **topic: Any) -> None:
    manifests = [
        mail_topic(f"{name}-{number}", found.namespace, topic={"partitions": 1, **topic})
        for number in range(count)
    ]
    file = directory / "many.yaml"
    file.write_text(yaml.safe_dump_all(manifests))
    found.server.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file))


def ready(found: Operators, replica: OperatorProcess, generation: int = 1) -> int:
    """Count the MailTopics whose generation, or a later one, was found to be Ready."""
    assert replica.exit_code is None, f"the operator ended with {replica.exit_code}"
    path = (
        '{range .items[*]}{.metadata.generation} {.status.conditions[?(@.type=="Ready")]'
        ".observedGeneration} "
        '{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
    )
    lines = found.kubectl("get", "mailtopics.mailtopic.dev", "-o", f"jsonpath={path}").splitlines()
    wanted = f"{generation} {generation} True"
    return sum(line == wanted for line in lines)


def unchanged(replica: OperatorProcess) -> float:
    return replica.metric("mailtopic_operator_reconciles_total", result="unchanged")


async def quiet(replica: OperatorProcess) -> None:
    """Wait until nothing is left in the queue and nothing more happens."""
    last = (-1.0, 0.0)

    def settled() -> bool:
        nonlocal last
        done = replica.metric("mailtopic_operator_reconciles_total")
        if done != last[0]:
            last = (done, time.monotonic())
        return (
            time.monotonic() - last[1] > 1 and replica.metric("mailtopic_operator_queue_depth") == 0
        )

    await until(settled, "the operator has nothing more to do", timeout_s=120)
