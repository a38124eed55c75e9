"""What the operator learns from senders' pods, which are the tests' own."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from support.conditions import until
from support.operators import Operators

RELAY = "main"


class Sender:
    """Shows a sender's metrics on the loopback interface."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.breaker = Gauge("mailtopic_breaker_open", "x", ("topic", "relay"), registry=registry)
        self.learned = Gauge(
            "mailtopic_relay_learned_mails_per_second", "x", ("topic", "relay"), registry=registry
        )
        self.server, self._thread = start_http_server(0, addr="127.0.0.1", registry=registry)
        self.port: int = self.server.server_port
        self.keep_away(False)

    def keep_away(self, is_open: bool) -> None:  # noqa: FBT001 - reads as it is meant
        self.breaker.labels("mails", RELAY).set(is_open)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@contextmanager
def deaf() -> Iterator[int]:
    """Return a port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def senders() -> Iterator[list[Sender]]:
    found = [Sender(), Sender()]
    yield found
    for sender in found:
        sender.close()


def add_pod(operators: Operators, topic: str, port: int) -> str:
    """Make a sender's pod that runs, as the kubelet would; return its name."""
    name = f"{topic}-{port}"
    labels = {"app.kubernetes.io/name": "mailtopic-sender", "mailtopic.dev/mailtopic": topic}
    ports = [{"name": "metrics", "containerPort": port}]
    operators.server.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": operators.namespace, "labels": labels},
            "spec": {"containers": [{"name": "sender", "image": "x", "ports": ports}]},
        }
    )
    patch_status(operators, f"pod/{name}", phase="Running", podIP="127.0.0.1")
    return name


def patch_status(operators: Operators, what: str, **status: object) -> None:
    patch = json.dumps({"status": status})
    operators.kubectl("patch", what, "--subresource=status", "--type=merge", "-p", patch)


async def with_senders(operators: Operators, topic: str) -> None:
    """Make a MailTopic whose Deployment says that it has senders."""
    await operators.started(reconcile__sample_s="0.3")
    operators.create(topic, consumers={"replicas": 2})
    what = f"deployment/{topic}-sender"
    await until(
        lambda: operators.kubectl("get", what, "--ignore-not-found", "-o", "name"),
        "there is a Deployment",
    )
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    patch_status(operators, what, observedGeneration=1, **dict.fromkeys(counts, 2))
    await operators.is_ready(topic)


async def health(operators: Operators, topic: str, status: str, reason: str) -> None:
    await until(
        lambda: operators.condition(topic, "RelayHealthy") == (status, reason),
        f"RelayHealthy is {status}, {reason}",
    )


async def test_a_relay_is_ill_when_every_sender_keeps_away_from_it(
    mail_operators: Operators, topic: str, senders: list[Sender]
) -> None:
    await with_senders(mail_operators, topic)
    await health(mail_operators, topic, "Unknown", "NotMeasured")
    pods = [add_pod(mail_operators, topic, sender.port) for sender in senders]
    await health(mail_operators, topic, "True", "Healthy")
    senders[0].keep_away(True)
    senders[1].keep_away(True)
    await health(mail_operators, topic, "False", "RelayUnavailable")
    (told,) = [
        condition["message"]
        for condition in mail_operators.status(topic)["conditions"]
        if condition["type"] == "RelayHealthy"
    ]
    assert told == f"{RELAY}: every sender's breaker is open: it takes no mails, or refuses logins"
    assert mail_operators.condition(topic)[0] == "True"
    senders[1].keep_away(False)
    await health(mail_operators, topic, "True", "Healthy")
    mail_operators.kubectl("delete", "pods", *pods, "--force", "--grace-period=0")
    await health(mail_operators, topic, "Unknown", "NotMeasured")
    reasons = [event["reason"] for event in mail_operators.get("events")["items"]]
    assert reasons.count("RelayUnavailable") == 1


async def test_what_the_senders_have_learned_of_a_relay_is_shown_and_follows(
    mail_operators: Operators, topic: str, senders: list[Sender]
) -> None:
    await with_senders(mail_operators, topic)
    for sender in senders:
        sender.learned.labels("mails", RELAY).set(7.1)
        add_pod(mail_operators, topic, sender.port)
    takes = f"{RELAY} takes about 14 mails/s, learned"
    await until(
        lambda: takes in mail_operators.kubectl("get", f"mailtopic/{topic}", "-o", "wide"),
        "the pace is shown",
    )
    status = mail_operators.status(topic)
    assert status["relays"] == [{"name": RELAY, "mailsPerSecond": 14, "source": "Learned"}]

    senders[0].learned.labels("mails", RELAY).set(30)
    senders[1].learned.labels("mails", RELAY).set(30)
    await until(
        lambda: mail_operators.status(topic)["relays"][0]["mailsPerSecond"] == 60,
        "another pace is shown",
    )


async def test_a_sender_that_never_answers_holds_nothing_up(
    mail_operators: Operators, topic: str, senders: list[Sender]
) -> None:
    await with_senders(mail_operators, topic)
    senders[0].keep_away(True)
    with deaf() as port:
        add_pod(mail_operators, topic, port)
        add_pod(mail_operators, topic, senders[0].port)
        budget = f"pdb/{topic}-sender"
        wanted = mail_operators.get(budget)["spec"]
        patch = json.dumps({"spec": {"maxUnavailable": 9}})
        mail_operators.kubectl("patch", budget, "--type=merge", "-p", patch)
        await until(
            lambda: mail_operators.get(budget)["spec"] == wanted, "it is put back", timeout_s=2.5
        )
        await health(mail_operators, topic, "False", "RelayUnavailable")


async def test_reply_rules_reach_the_senders_and_are_no_drift(
    mail_operators: Operators, topic: str
) -> None:
    await mail_operators.started(reconcile__resync_s="1")
    rules = [{"match": "no credit left", "class": "quota", "code": 550}]
    mail_operators.create(topic, replies={"rules": rules})
    what = f"deployment/{topic}-sender"
    await until(
        lambda: mail_operators.kubectl("get", what, "--ignore-not-found", "-o", "name"),
        "there is a Deployment",
    )
    template = mail_operators.get(what)["spec"]["template"]
    assert json.loads(template["metadata"]["annotations"]["mailtopic.dev/reply-rules"]) == rules
    bad = {"spec": {"replies": {"rules": [{"match": "(", "class": "quota"}]}}}
    mail_operators.kubectl("patch", f"mailtopic/{topic}", "--type=merge", "-p", json.dumps(bad))
    await until(
        lambda: mail_operators.condition(topic, "SendersReady") == ("False", "InvalidReplyRule"),
        "the rule is refused",
    )
    assert mail_operators.get(what)["spec"]["template"] == template
    assert mail_operators.get(what)["metadata"]["generation"] == 1
    reasons = [event["reason"] for event in mail_operators.get("events")["items"]]
    assert "DriftCorrected" not in reasons


async def test_a_pod_that_crashes_is_named_in_the_condition_with_its_last_line(
    mail_operators: Operators, topic: str
) -> None:
    await with_senders(mail_operators, topic)
    name = add_pod(mail_operators, topic, 9100)
    ended = {
        "exitCode": 2,
        "reason": "Error",
        "message": "MAILTOPIC_TOPIC: missing",
        "startedAt": "2026-12-01T00:00:00Z",
        "finishedAt": "2026-12-01T00:00:01Z",
    }
    container = {
        "name": "sender",
        "image": "x",
        "imageID": "",
        "ready": False,
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": ended},
    }
    patch_status(mail_operators, f"pod/{name}", containerStatuses=[container])
    patch_status(mail_operators, f"deployment/{topic}-sender", availableReplicas=1)
    await until(
        lambda: mail_operators.condition(topic) == ("False", "CrashLoopBackOff"), "it is named"
    )
    [told] = [
        condition["message"]
        for condition in mail_operators.status(topic)["conditions"]
        if condition["type"] == "Stalled"
    ]
    assert told == (f"pod {name}: CrashLoopBackOff: exit code 2 (Error): MAILTOPIC_TOPIC: missing")
    patch_status(mail_operators, f"deployment/{topic}-sender", availableReplicas=2)
    await mail_operators.is_ready(topic)
