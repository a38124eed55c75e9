"""Two MailTopics of two namespaces on one secured Kafka: what one tries against the other."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailtopic_operator.domain.user_names import password_key
from support.api_server import ROOT, ApiServer
from support.brokers import started
from support.conditions import until
from support.operators import Operators, mail_topic
from support.scram_kafka import Administrator, ScramNode, with_operator
from support.tenants import ATTEMPTS, Attempt, Tenants

PAGE = ROOT / "docs" / "security" / "tenants.md"
NAMES = ("mail-one", "mail-two")

SPECS: dict[str, dict[str, Any]] = {
    "TopicNotAllowed": {"topic": {"name": "mail-two"}},
    "adopting": {"topic": {"name": "mail-two", "adopt": True}},
    "satellite": {"topic": {"name": "mail-two.more"}},
    "group": {"topic": {"name": "mail-one.retry"}},
}


class Scene:
    """An operator of two namespaces, and a MailTopic in each."""

    def __init__(self, directory: Path, server: ApiServer, node: ScramNode) -> None:
        self.node, self.server = node, server
        self.operators = Operators(directory, server, node.sasl_servers)
        self.one = self.operators.namespace
        self.two = f"{self.one}-two"
        server.kubectl("create", "namespace", self.two)
        prefixes = {self.one: ["mail-one"], self.two: ["mail-two"]}
        self.operators.settings = {
            **node.operator_settings,
            "MAILTOPIC_OPERATOR__WATCH_NAMESPACES": f"{self.one},{self.two}",
            "MAILTOPIC_OPERATOR__TOPICS__PREFIXES": json.dumps(prefixes),
            "MAILTOPIC_OPERATOR__RECONCILE__RESYNC_S": "2",
        }
        self.users: dict[str, str] = {}

    async def begin(self) -> None:
        self.administrator = await with_operator(self.node)
        await self.operators.started()
        self.server.apply(*map(mail_topic, NAMES, (self.one, self.two)))
        for name, namespace in zip(NAMES, (self.one, self.two), strict=True):
            await until(
                lambda name=name, namespace=namespace: (  # type: ignore[misc]
                    self.condition(name, namespace, "Ready")[0] == "True"
                ),
                f"{name} is ready",
                timeout_s=90,
            )
            status = self.get(name, namespace)["status"]
            self.users[name] = status["kafkaUsers"][0]["name"]

    def get(self, name: str, namespace: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.get("-n", namespace, f"mailtopics.mailtopic.dev/{name}")
        return found

    def condition(self, name: str, namespace: str, kind: str) -> tuple[str, str]:
        status = self.get(name, namespace).get("status") or {}
        found = [c for c in status.get("conditions", ()) if c["type"] == kind]
        return (found[0]["status"], found[0]["reason"]) if found else ("", "")

    @property
    def tenants(self) -> Tenants:
        user = self.users["mail-one"]
        secret = self.server.get("-n", self.one, "secret/mail-one-kafka")
        password = base64.b64decode(secret["data"][password_key(user)]).decode()
        return Tenants(
            login=self.node.login(user, password),
            topic="mail-one",
            other="mail-two",
            other_user=self.users["mail-two"],
        )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, api_server: ApiServer) -> Iterator[Scene]:
    for node in started(ScramNode(tmp_path_factory.mktemp("tenants")), "integration"):
        scene = Scene(tmp_path_factory.mktemp("operators"), api_server, node)
        asyncio.run(scene.begin())
        yield scene
        for replica in scene.operators.replicas:
            asyncio.run(replica.kill())


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda each: each.what.replace(" ", "-"))
def test_kafka_refuses_what_one_tries_against_the_other(scene: Scene, attempt: Attempt) -> None:
    assert attempt.run(scene.tenants) == attempt.words


def test_the_operator_refuses_names_that_are_anothers(scene: Scene) -> None:
    for number, spec in enumerate(SPECS.values()):
        scene.server.apply(mail_topic(f"try-{number}", scene.one, **spec))
    kinds = ("TopicsReady", "TopicsReady", "TopicsReady", "KafkaUserReady")
    for number, kind in enumerate(kinds):
        asyncio.run(
            until(
                lambda number=number, kind=kind: (  # type: ignore[misc]
                    scene.condition(f"try-{number}", scene.one, kind)
                    == ("False", "TopicNotAllowed")
                ),
                f"{kind} of try-{number} says so",
            )
        )
    assert not [user for user in asyncio.run(known_users(scene)) if ".try-" in user]


async def known_users(scene: Scene) -> set[str]:
    return await Administrator(scene.node).users()


def test_a_forged_status_removes_no_user_of_another(scene: Scene) -> None:
    """Only the operator may write the status; even so, it goes by its own names."""
    other = scene.users["mail-two"]
    own = {"name": scene.users["mail-one"]}
    forged = {"name": other, "unusedSince": "2026-01-01T00:00:00Z"}
    patch = json.dumps({"status": {"kafkaUsers": [own, forged]}})
    where = "mailtopics.mailtopic.dev/mail-one"
    scene.server.kubectl(
        *("-n", scene.one, "patch", where, "--subresource=status", "--type=merge"),
        *("--patch", patch),
    )
    replica = scene.operators.replicas[0]
    passes = replica.metric("mailtopic_operator_reconciles_total") + 4
    asyncio.run(
        until(
            lambda: replica.metric("mailtopic_operator_reconciles_total") >= passes,
            "it was reconciled",
        )
    )
    assert other in asyncio.run(known_users(scene))
    assert asyncio.run(Administrator(scene.node).rules(other))


def test_the_page_has_a_row_for_each_attempt() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert rows[1:] == [f"| {each.kind} | {each.what} | `{each.words}` |" for each in ATTEMPTS]
