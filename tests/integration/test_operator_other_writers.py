"""The operator beside other writers: an admission webhook, and a tool that scales the senders."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from support.admission import webhook
from support.conditions import until
from support.operators import OperatorProcess, Operators

REQUESTS = "/spec/template/spec/containers/0/resources/requests/cpu"


async def test_what_a_webhook_changes_at_each_write_keeps_no_mailtopic_from_ready(
    mail_operators: Operators, topic: str
) -> None:
    more = [{"op": "replace", "path": REQUESTS, "value": "250m"}]
    with webhook(topic, mail_operators.namespace, more) as configuration:
        mail_operators.server.apply(configuration)
        try:
            replica = await mail_operators.started(reconcile__resync_s="0.5")
            mail_operators.create(topic)
            await mail_operators.is_ready(topic)
            await unchanged_again(replica, times=3)
            before = applied(replica)
            await unchanged_again(replica, times=3)
            assert applied(replica) == before
            deployment = mail_operators.get(f"deployment/{topic}-sender")
            container = deployment["spec"]["template"]["spec"]["containers"][0]
            assert container["resources"]["requests"]["cpu"] == "250m"
            [told] = notes(mail_operators, "ChangedByAdmission")
            assert f"Deployment/{topic}-sender" in told
            assert "resources.requests.cpu" in told
            assert notes(mail_operators, "DriftCorrected") == []
        finally:
            mail_operators.kubectl("delete", "mutatingwebhookconfiguration", topic)


async def test_a_tool_that_scales_the_senders_again_and_again_is_named_and_not_fought(
    mail_operators: Operators, topic: str
) -> None:
    replica = await mail_operators.started(reconcile__resync_s="1")
    mail_operators.create(topic)
    await mail_operators.is_ready(topic)
    before = applied(replica)
    async with scaled_again_and_again(mail_operators, topic):
        await until(
            lambda: mail_operators.condition(topic) == ("False", "Contested"), "it is reported"
        )
        held = applied(replica)
        await unchanged_again(replica, times=5)
        assert applied(replica) == held
    assert held - before == 3
    assert any("kubectl through scale" in told for told in notes(mail_operators, "DriftCorrected"))
    [ready] = [
        each["message"]
        for each in mail_operators.status(topic)["conditions"]
        if each["type"] == "Ready"
    ]
    assert "spec.replicas by kubectl through scale" in ready


@asynccontextmanager
async def scaled_again_and_again(operators: Operators, topic: str) -> AsyncIterator[None]:
    name = f"deployment/{topic}-sender"

    async def scale() -> None:
        while True:
            await asyncio.to_thread(operators.kubectl, "scale", "--replicas=5", name)

    task = asyncio.create_task(scale())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def applied(replica: OperatorProcess) -> float:
    return replica.metric("mailtopic_operator_actions_total", action="ApplyChild", result="done")


async def unchanged_again(replica: OperatorProcess, *, times: int) -> None:
    """Wait until the operator has found nothing to do so many times more."""
    name = "mailtopic_operator_reconciles_total"
    enough = replica.metric(name, result="unchanged") + times
    await until(lambda: replica.metric(name, result="unchanged") >= enough, "more resyncs")


def notes(operators: Operators, reason: str) -> list[str]:
    items = operators.get("events")["items"]
    return [item["message"] for item in items if item["reason"] == reason]
