"""The operator may do what it needs and nothing else: each right taken away makes something fail.

The rights are those of its chart, on a real API server that also checks who may own whom.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from support.api_server import ApiServer, running_api_server
from support.brokers import running_node
from support.conditions import until
from support.helm import Helm, helm_clients
from support.operator_rights import Right, Rights, granted, rendered
from support.operators import OperatorProcess, Operators, install_crds, mail_topic
from support.requirements import require

Json = dict[str, Any]
Figure = Callable[[str], None]

_KEDA = "keda.sh"
# A hand edit of each child, in a field that the operator sets.
_EDITS: dict[tuple[str, str], Json] = {
    ("apps", "deployments"): {"spec": {"minReadySeconds": 7}},
    ("", "serviceaccounts"): {"automountServiceAccountToken": True},
    ("policy", "poddisruptionbudgets"): {"spec": {"maxUnavailable": 9}},
    ("networking.k8s.io", "networkpolicies"): {"spec": {"egress": [{}]}},
    (_KEDA, "scaledobjects"): {"spec": {"pollingInterval": 99}},
    (_KEDA, "triggerauthentications"): {"spec": {"secretTargetRef": []}},
}
_AT_WORK = [
    Right(group, resource, verb)
    for (group, resource) in _EDITS
    for verb in ("create", "patch", "get", "delete")
]
_AT_START = [
    Right(group, resource, verb)
    for (group, resource) in [*_EDITS, ("mailtopic.dev", "mailtopics")]
    for verb in ("list", "watch")
]
_OF_THE_LEASE = [
    Right("coordination.k8s.io", "leases", verb) for verb in ("get", "create", "update")
]
_OF_A_MAILTOPIC = [
    Right("mailtopic.dev", "mailtopics", "patch"),
    Right("mailtopic.dev", "mailtopics/status", "patch"),
    Right("mailtopic.dev", "mailtopics/finalizers", "update"),
    Right("", "secrets", "get"),
    Right("", "configmaps", "get"),
    Right("events.k8s.io", "events", "create"),
]
_OF_A_NAMESPACE = [Right("", "namespaces", "get")]
_NAME = "base"
_SCALED = {"autoscaling": {"provider": "KEDA", "minReplicas": 0}}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def helm() -> Helm:
    clients = helm_clients()
    if not clients:
        require("cluster", "there is no helm: `make cluster` builds it")
    return clients[-1]


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server that lets nobody own what they couldn't delete, with the CRDs of KEDA."""
    plugin = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"
    for server in running_api_server(tmp_path_factory.mktemp("api"), "cluster", (plugin,)):
        install_crds(server)
        server.apply(_crd("ScaledObject"), _crd("TriggerAuthentication"))
        for plural in ("scaledobjects", "triggerauthentications"):
            server.kubectl("wait", "--for=condition=Established", f"crd/{plural}.{_KEDA}")
        yield server


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    yield from running_node(tmp_path_factory.mktemp("kafka"), "cluster")


def _crd(kind: str) -> Json:
    """What the operator needs of KEDA: a place for its objects."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{_KEDA}"},
        "spec": {
            "group": _KEDA,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }


@dataclass
class Bench:
    """An operator with the rights of its chart, in a namespace of its own."""

    operators: Operators
    rights: Rights

    @classmethod
    def make(cls, directory: Path, server: ApiServer, kafka: KafkaNode, helm: Helm) -> "Bench":
        operators = Operators(directory, server, kafka.bootstrap_servers)
        rights = Rights(server, helm, operators.namespace)
        operators.settings = {
            "MAILTOPIC_OPERATOR__LEASE__NAME": rights.lease,
            "MAILTOPIC_OPERATOR__RECONCILE__RESYNC_S": "3600",
            # Senders log in to a Kafka with TLS, so that KEDA needs a TriggerAuthentication.
            "MAILTOPIC_OPERATOR__SENDER__KAFKA__SECURITY_PROTOCOL": "SSL",
            "MAILTOPIC_OPERATOR__SENDER__KAFKA__CA_SECRET": "kafka-ca",
        }
        operators.kubectl("create", "secret", "generic", "kafka-ca", "--from-literal=ca.crt=x")
        return cls(operators, rights)

    def start(self) -> OperatorProcess:
        user = f"system:serviceaccount:{self.operators.namespace}:operator"
        return self.operators.start(kubeconfig=self.operators.server.kubeconfig_of(user))

    def create(self, name: str, **spec: Any) -> None:
        """Make a MailTopic with every child that there can be."""
        topic = {"name": f"{self.operators.prefix}.{name}", "partitions": 1}
        self.operators.create(name, topic=topic, **{"consumers": _SCALED, **spec})

    def child(self, right: Right, name: str = _NAME) -> str:
        return f"{right.resource}{'.' if right.group else ''}{right.group}/{name}-sender"

    def essence(self, right: Right) -> Json | None:
        """Return what a hand edit of a child changes; None if the child isn't there."""
        text = self.operators.kubectl(
            "get", self.child(right), "--ignore-not-found", "--output=json"
        )
        if not text:
            return None
        item = json.loads(text)
        labels, owners = (item["metadata"].get(key) for key in ("labels", "ownerReferences"))
        rest = {key: value for key, value in item.items() if key not in {"metadata", "status"}}
        return {**rest, "labels": labels, "owners": owners}

    def edit(self, right: Right, change: Json) -> None:
        self.operators.kubectl(
            *("patch", self.child(right), "--type=merge", f"--patch={json.dumps(change)}")
        )

    def nudge(self, name: str = _NAME) -> None:
        """Have a MailTopic looked at now, and not when its turn comes after a failure."""
        mark = f"tests/nudge={next(_numbers)}"
        self.operators.kubectl("annotate", "--overwrite", f"mailtopic/{name}", mark)

    def condition(self, name: str, kind: str) -> str:
        return self.operators.condition(name, kind)[0]

    def close(self) -> None:
        for replica in self.operators.replicas:
            asyncio.run(replica.kill())


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, api_server: ApiServer, kafka: KafkaNode, helm: Helm
) -> Iterator[Bench]:
    """An operator that runs all the time, with a MailTopic that has all its children."""
    bench = Bench.make(tmp_path_factory.mktemp("operator"), api_server, kafka, helm)
    bench.create(_NAME)
    process = bench.start()
    asyncio.run(process.leads())
    asyncio.run(until(lambda: all(bench.essence(right) for right in _AT_WORK), "all children"))
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def idle(
    tmp_path_factory: pytest.TempPathFactory, api_server: ApiServer, kafka: KafkaNode, helm: Helm
) -> Iterator[Bench]:
    """The same, with an operator that doesn't run at the moment."""
    bench = Bench.make(tmp_path_factory.mktemp("operator"), api_server, kafka, helm)
    bench.create(_NAME)
    process = bench.start()
    asyncio.run(until(lambda: all(bench.essence(right) for right in _AT_WORK), "all children"))
    asyncio.run(process.stop())
    yield bench
    bench.close()


@pytest.fixture
async def ended(idle: Bench) -> AsyncIterator[Bench]:
    yield idle
    for replica in idle.operators.replicas:
        if replica.exit_code is None:
            await replica.stop()


def refused(process: OperatorProcess) -> float:
    return process.metric("mailtopic_operator_api_requests_total", code="403")


async def fails(
    bench: Bench, right: Right, provoke: Callable[[], object], is_well: Callable[[], object]
) -> None:
    """See that the operator is refused something and doesn't get there, until it may."""
    process = bench.operators.replicas[-1]
    with bench.rights.without(right):
        before = refused(process)
        provoke()
        await until(lambda: refused(process) > before, f"the operator is refused {right}")
        assert not is_well(), f"all is well without {right}"


def test_every_right_of_the_chart_is_taken_away_by_a_test(helm: Helm) -> None:
    tried = [*_AT_WORK, *_AT_START, *_OF_THE_LEASE, *_OF_A_MAILTOPIC, *_OF_A_NAMESPACE]
    assert sorted(granted(rendered(helm, "mail"))) == sorted(tried)


@pytest.mark.parametrize("right", _AT_WORK, ids=str)
async def test_a_child_stays_wrong(bench: Bench, right: Right) -> None:
    edit = _EDITS[right.group, right.resource]
    nobodys = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    provocations: dict[str, Callable[[], object]] = {
        "create": lambda: bench.operators.kubectl("delete", bench.child(right), "--wait=false"),
        "patch": lambda: bench.edit(right, edit),
        # What doesn't say whose it is is looked at before it is taken over.
        "get": lambda: bench.edit(right, {**edit, **nobodys}),
        # Where that is checked, only who may delete an object may say whose it is.
        "delete": lambda: bench.edit(right, {"metadata": {"ownerReferences": None}}),
    }
    wanted = bench.essence(right)

    def is_well() -> bool:
        return bench.essence(right) == wanted

    await fails(bench, right, provocations[right.verb], is_well)
    bench.nudge()
    await until(is_well, f"it is put right with {right}")


@pytest.mark.parametrize("right", _OF_A_MAILTOPIC, ids=str)
async def test_a_mailtopic_does_not_become_what_it_should(bench: Bench, right: Right) -> None:
    name = f"other-{next(_numbers)}"
    operators = bench.operators
    spec, is_well = _mailtopic_that_needs(bench, right, name)
    await fails(bench, right, lambda: bench.create(name, **spec), is_well)
    if right.resource == "events":
        # An event that got lost is not written later.
        operators.kubectl("delete", f"mailtopic/{name}", "--wait=false")
        await until(lambda: not _exists(operators, f"mailtopic/{name}"), "it is gone")
        bench.create(name)
    bench.nudge(name)
    await until(is_well, f"it is well with {right}")


def _mailtopic_that_needs(
    bench: Bench, right: Right, name: str
) -> tuple[Json, Callable[[], object]]:
    """Return a spec that can't be fulfilled without a right, and whether it is fulfilled."""
    operators = bench.operators

    def has_credentials() -> bool:
        return bench.condition(name, "CredentialsValid") == "True"

    match right.resource:
        case "mailtopics":

            def has_finalizer() -> bool:
                meta = operators.get(f"mailtopic/{name}")["metadata"]
                return bool(meta.get("finalizers"))

            return {"deletionPolicy": "Delete"}, has_finalizer
        case "mailtopics/status":
            return {}, lambda: bench.condition(name, "TopicsReady") == "True"
        case "mailtopics/finalizers":
            return {}, lambda: _exists(operators, f"deployment/{name}-sender")
        case "secrets":
            operators.kubectl("create", "secret", "generic", name, "--from-literal=ca.crt=x")
            relay = mail_topic(name, "")["spec"]["relays"][0]
            return {"relays": [{**relay, "caSecretRef": {"name": name}}]}, has_credentials
        case "configmaps":
            data = "--from-literal=signup.en.subject=Hello"
            operators.kubectl("create", "configmap", name, data)
            return {"template": {"configMapRef": {"name": name}}}, has_credentials
        case _:
            return {}, lambda: _has_event(operators, name)


def _has_event(operators: Operators, name: str) -> bool:
    events = operators.get("events.events.k8s.io")["items"]
    return any(each["regarding"]["name"] == name for each in events)


def _exists(operators: Operators, what: str) -> bool:
    return bool(operators.kubectl("get", what, "--ignore-not-found", "--output=name"))


@pytest.mark.parametrize("right", _AT_START, ids=str)
async def test_an_operator_that_starts_does_not_see(ended: Bench, right: Right) -> None:
    change, is_well = _change_that_is_seen_by(ended, right)
    with ended.rights.without(right):
        process = ended.start()
        if right.verb == "watch":
            await process.leads()
        await until(lambda: _gave_up(process), f"the operator is refused {right}")
        change()
        assert not is_well()
    if process.exit_code is not None:
        await ended.start().leads()
    ended.nudge()
    await until(is_well, f"the change is seen with {right}")


def _change_that_is_seen_by(
    bench: Bench, right: Right
) -> tuple[Callable[[], None], Callable[[], bool]]:
    """Return a change that is noticed by a right, and whether what follows from it was done."""
    if right.resource == "mailtopics":
        name = f"late-{next(_numbers)}"
        return (
            lambda: bench.create(name),
            lambda: _exists(bench.operators, f"deployment/{name}-sender"),
        )
    wanted = bench.essence(right)
    return (
        lambda: bench.edit(right, _EDITS[right.group, right.resource]),
        lambda: bench.essence(right) == wanted,
    )


def _gave_up(process: OperatorProcess) -> bool:
    return process.exit_code is not None or refused(process) > 0


@pytest.mark.parametrize("right", _OF_THE_LEASE, ids=str)
async def test_no_replica_leads(ended: Bench, right: Right) -> None:
    ended.operators.kubectl("delete", f"lease/{ended.rights.lease}", "--ignore-not-found")
    with ended.rights.without(right):
        process = ended.start()
        await until(lambda: refused(process) > 0, f"the operator is refused {right}")
        assert process.metric("mailtopic_operator_is_leader") == 0
    await process.leads()


@pytest.fixture
def passing(tmp_path: Path, api_server: ApiServer, kafka: KafkaNode, helm: Helm) -> Iterator[Bench]:
    """One whose namespace may be deleted."""
    bench = Bench.make(tmp_path, api_server, kafka, helm)
    yield bench
    bench.close()


@pytest.mark.parametrize("right", _OF_A_NAMESPACE, ids=str)
async def test_a_mailtopic_holds_its_namespace_up(
    passing: Bench, right: Right, figure: Figure
) -> None:
    bench = passing
    bench.create(_NAME, deletionPolicy="Delete")
    process = bench.start()
    await process.leads()
    await until(lambda: all(map(bench.essence, _AT_WORK)), "all children")

    def delete() -> None:
        bench.operators.server.kubectl(
            "delete", "namespace", bench.operators.namespace, "--wait=false"
        )
        bench.operators.kubectl("delete", f"mailtopic/{_NAME}", "--wait=false")

    def is_gone() -> bool:
        return not _exists(bench.operators, f"mailtopic/{_NAME}")

    await fails(bench, right, delete, is_gone)
    started_s = time.monotonic()
    await until(is_gone, "the MailTopic has gone with its namespace")
    figure(f"a MailTopic goes {time.monotonic() - started_s:.1f} s after it may")
