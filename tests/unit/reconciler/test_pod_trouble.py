"""Why senders don't run, in the words of their pods."""

from typing import Any

import pytest

from mailtopic_operator.domain.pod_trouble import PodTrouble, pod_trouble
from support.mailtopic_world import World

Json = dict[str, Any]


def pod(name: str, *containers: Json, conditions: tuple[Json, ...] = (), **meta: Any) -> Json:
    status = {"containerStatuses": list(containers), "conditions": list(conditions)}
    return {"metadata": {"name": name, **meta}, "status": status}


def waiting(reason: str, message: str = "", **last: Any) -> Json:
    return {"state": {"waiting": {"reason": reason, "message": message}}, "lastState": last}


RUNS = pod("a", {"state": {"running": {}}})
UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available:\n3 Insufficient cpu.",
}


@pytest.mark.parametrize(
    "pods",
    [
        [],
        [RUNS],
        [pod("b", waiting("ContainerCreating")), pod("c", waiting("PodInitializing"))],
        [pod("d", waiting("ImagePullBackOff"), deletionTimestamp="2026-12-01T00:00:00Z")],
        [{"metadata": {"name": "e"}}],
    ],
)
def test_pods_that_run_or_have_just_begun_are_no_trouble(pods: list[Json]) -> None:
    assert pod_trouble(pods) is None


def test_an_image_that_is_not_there_is_named_with_the_pod() -> None:
    found = pod_trouble([RUNS, pod("b", waiting("ErrImagePull", 'not found: "x/y:1"'))])
    message = 'pod b: ImagePullBackOff: not found: "x/y:1"'
    assert found == PodTrouble("b", "ImagePullBackOff", message, is_stalled=True)


def test_a_crash_is_told_with_its_exit_code_and_last_line() -> None:
    ended = {"exitCode": 2, "reason": "Error", "message": "one\nMAILTOPIC_TOPIC is missing\n"}
    found = pod_trouble([pod("b", waiting("CrashLoopBackOff", "back-off 5m0s", terminated=ended))])
    assert found is not None
    assert found.message == (
        "pod b: CrashLoopBackOff: exit code 2 (Error): MAILTOPIC_TOPIC is missing"
    )
    silent = pod_trouble([pod("b", waiting("CrashLoopBackOff", "back-off 5m0s"))])
    assert silent is not None
    assert silent.message == "pod b: CrashLoopBackOff: back-off 5m0s"


def test_what_only_a_person_can_end_comes_before_a_pod_without_a_node() -> None:
    lonely = pod("a", conditions=(UNSCHEDULABLE,))
    found = pod_trouble([lonely])
    assert found is not None
    assert not found.is_stalled
    assert found.message == ("pod a: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.")
    worse = pod_trouble([lonely, pod("b", waiting("InvalidImageName", "no"))])
    assert worse is not None
    assert worse.reason == "InvalidImageName"


def test_a_message_of_any_length_is_one_line_of_a_few_words() -> None:
    found = pod_trouble([pod("b", waiting("ErrImagePull", "very\nlong " * 1000))])
    assert found is not None
    assert len(found.message) < 400
    assert "\n" not in found.message


@pytest.mark.parametrize("is_stalled", [True, False])
def test_a_rollout_that_waits_says_why(is_stalled: bool) -> None:  # noqa: FBT001
    world = World()
    world.settle()
    world.pod_trouble = PodTrouble("b", "ImagePullBackOff", "pod b: no image", is_stalled)
    assert world.plan().is_settled
    world.deployment["status"]["availableReplicas"] = 0
    planned = world.plan().status
    assert planned is not None
    found = {each["type"]: each for each in planned.status["conditions"]}
    assert found["SendersReady"]["reason"] == "ImagePullBackOff"
    assert found["Ready"]["message"] == "pod b: no image"
    assert found["Stalled"]["status"] == str(is_stalled)
