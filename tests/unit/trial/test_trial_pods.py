"""What a trial tells about pods while it waits."""

from typing import Any

from mailtopic_cli.cluster.trial.pods import problems, summary

Pod = dict[str, Any]


def pod(name: str, component: str, **status: Any) -> Pod:
    labels = {"app.kubernetes.io/name": component}
    return {"metadata": {"name": name, "labels": labels}, "status": status}


def ready(name: str, component: str) -> Pod:
    return pod(name, component, conditions=[{"type": "Ready", "status": "True"}])


def waiting(reason: str) -> Pod:
    container = {"image": "mailtopic/signup:0.1.0", "state": {"waiting": {"reason": reason}}}
    return pod("signup-1", "signup", containerStatuses=[container])


def test_the_summary_counts_the_ready_pods_of_each_component() -> None:
    pods = [ready("sender-1", "sender"), pod("sender-2", "sender"), ready("kafka-0", "kafka")]
    assert summary(pods) == "kafka 1/1, sender 1/2"


def test_pods_that_are_done_or_leaving_are_not_counted() -> None:
    leaving = ready("signup-1", "signup")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    done = pod("access", "kafka", phase="Succeeded")
    assert summary([leaving, done, pod("signup-2", "signup")]) == "signup 0/1"


def test_an_image_that_is_missing_is_told_with_what_helps() -> None:
    assert problems([waiting("ErrImageNeverPull")]) == [
        "signup-1: ErrImageNeverPull of mailtopic/signup:0.1.0; `make images` builds and loads it"
    ]


def test_a_pod_that_only_starts_is_no_problem() -> None:
    assert problems([waiting("ContainerCreating"), ready("kafka-0", "kafka")]) == []


def test_a_pod_that_no_node_takes_is_told_in_the_schedulers_words() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu. preemption: none.",
    }
    assert problems([pod("kafka-0", "kafka", conditions=[condition])]) == [
        "kafka-0: no node takes it: 0/1 nodes are available: 1 Insufficient cpu"
    ]
