"""The operator may do what it needs and nothing else: each right taken away makes something fail.

The rights are those of its chart, on a real API server that also checks who may own whom.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from support.api_server import ApiServer, running_api_server
from support.brokers import running_node
from support.conditions import until
from support.helm import Helm, helm_clients
from support.operator_rights import Right, granted, rendered
from support.operator_rights_bench import (
    EDITS,
    KEDA,
    NAME,
    NUMBERS,
    Bench,
    fails,
    keda_crd,
    refused,
)
from support.operators import OperatorProcess, Operators, install_crds, mail_topic
from support.requirements import require

Json = dict[str, Any]
Figure = Callable[[str], None]

_AT_WORK = [
    Right(group, resource, verb)
    for (group, resource) in EDITS
    for verb in ("create", "patch", "get", "delete")
]
_AT_START = [
    Right(group, resource, verb)
    for (group, resource) in [
        *EDITS,
        ("mailtopic.dev", "mailtopics"),
        ("mailtopic.dev", "mailreplays"),
        ("batch", "jobs"),
    ]
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
_OF_A_REPLAY = [
    Right("batch", "jobs", "create"),
    Right("batch", "jobs", "patch"),
    Right("batch", "jobs", "get"),
    Right("", "pods", "list"),
    Right("mailtopic.dev", "mailreplays/status", "patch"),
]
_OF_ANAMESPACE = [Right("", "namespaces", "get")]
_REPLAY = "standing"


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
        server.apply(keda_crd("ScaledObject"), keda_crd("TriggerAuthentication"))
        server.serves_crds(f"scaledobjects.{KEDA}", f"triggerauthentications.{KEDA}")
        yield server


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    yield from running_node(tmp_path_factory.mktemp("kafka"), "cluster")


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, api_server: ApiServer, kafka: KafkaNode, helm: Helm
) -> Iterator[Bench]:
    """An operator that runs all the time, with a MailTopic that has all its children."""
    bench = Bench.make(tmp_path_factory.mktemp("operator"), api_server, kafka, helm)
    bench.create(NAME)
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
    bench.create(NAME)
    process = bench.start()
    asyncio.run(until(lambda: all(bench.essence(right) for right in _AT_WORK), "all children"))
    bench.replays.create(_REPLAY, NAME, dryRun=True)
    asyncio.run(bench.replays.started(_REPLAY))
    asyncio.run(process.stop())
    yield bench
    bench.close()


@pytest.fixture
async def ended(idle: Bench) -> AsyncIterator[Bench]:
    yield idle
    for replica in idle.operators.replicas:
        if replica.exit_code is None:
            await replica.stop()


def test_every_right_of_the_chart_is_taken_away_by_a_test(helm: Helm) -> None:
    of_resources = [*_OF_A_MAILTOPIC, *_OF_A_REPLAY, *_OF_ANAMESPACE]
    tried = [*_AT_WORK, *_AT_START, *_OF_THE_LEASE, *of_resources]
    assert sorted(granted(rendered(helm, "mail"))) == sorted(tried)


@pytest.mark.parametrize("right", _AT_WORK, ids=str)
async def test_a_child_stays_wrong(bench: Bench, right: Right) -> None:
    edit = EDITS[right.group, right.resource]
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
    name = f"other-{next(NUMBERS)}"
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
            operators.kubectl("label", "secret", name, "mailtopic.dev/use=ca")
            relay = mail_topic(name, "")["spec"]["relays"][0]
            return {"relays": [{**relay, "caSecretRef": {"name": name}}]}, has_credentials
        case "configmaps":
            data = "--from-literal=signup.en.subject=Hello"
            operators.kubectl("create", "configmap", name, data)
            return {"template": {"configMapRef": {"name": name}}}, has_credentials
        case _:
            return {}, lambda: _has_event(operators, name)


@pytest.mark.parametrize("right", _OF_A_REPLAY, ids=str)
async def test_a_replay_does_not_get_to_its_end(bench: Bench, right: Right) -> None:
    name = f"again-{next(NUMBERS)}"
    provoke, is_well = await _replay_that_needs(bench, right, name)
    await fails(bench, right, provoke, is_well)
    bench.nudge()
    await until(is_well, f"it is well with {right}")


async def _replay_that_needs(
    bench: Bench, right: Right, name: str
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what a right is needed for, and whether that is done."""
    replays = bench.replays

    def create() -> None:
        # Counting waits for nobody.
        replays.create(name, NAME, dryRun=True)

    if right.resource == "mailreplays/status":
        return create, lambda: replays.condition(name) != ("", "")
    if right.resource == "pods":
        create()
        job = await replays.started(name)
        replays.end_pod(job, code=0, message="{}")
        return (
            lambda: replays.end_job(job, is_good=True),
            lambda: replays.condition(name)[0] == "True",
        )
    if right.verb == "get":
        # What is in the way is looked at before it is called somebody else's.
        pod = {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}
        bench.operators.server.apply(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": f"{name}-replay", "namespace": bench.operators.namespace},
                "spec": {"backoffLimit": 1, "template": {"spec": pod}},
            }
        )
        return create, lambda: "isn't ours" in replays.message(name)
    return create, lambda: replays.job(name)


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
        name = f"late-{next(NUMBERS)}"
        return (
            lambda: bench.create(name),
            lambda: _exists(bench.operators, f"deployment/{name}-sender"),
        )
    replays, number = bench.replays, next(NUMBERS)
    if right.resource == "mailreplays":
        return (
            lambda: replays.create(f"late-{number}", NAME, dryRun=True),
            lambda: replays.job(f"late-{number}") is not None,
        )
    if right.resource == "jobs":
        job = replays.job(_REPLAY)
        assert job is not None
        return (
            lambda: replays.tell(job, failed=number),
            lambda: replays.message(_REPLAY).startswith(f"run {number + 1};"),
        )
    wanted = bench.essence(right)
    return (
        lambda: bench.edit(right, EDITS[right.group, right.resource]),
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


@pytest.mark.parametrize("right", _OF_ANAMESPACE, ids=str)
async def test_a_mailtopic_holds_its_namespace_up(
    passing: Bench, right: Right, figure: Figure
) -> None:
    bench = passing
    bench.create(NAME, deletionPolicy="Delete")
    process = bench.start()
    await process.leads()
    await until(lambda: all(map(bench.essence, _AT_WORK)), "all children")

    def delete() -> None:
        bench.operators.server.kubectl(
            "delete", "namespace", bench.operators.namespace, "--wait=false"
        )
        bench.operators.kubectl("delete", f"mailtopic/{NAME}", "--wait=false")

    def is_gone() -> bool:
        return not _exists(bench.operators, f"mailtopic/{NAME}")

    await fails(bench, right, delete, is_gone)
    started_s = time.monotonic()
    await until(is_gone, "the MailTopic has gone with its namespace")
    figure(f"a MailTopic goes {time.monotonic() - started_s:.1f} s after it may")
