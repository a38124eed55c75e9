"""Which pod has which address."""

from typing import Any

from localcluster.pods import PodBook


def item(name: str, uid: str = "1", *, address: str = "", **spec: Any) -> dict[str, Any]:
    container = {"ports": [{"name": "http", "containerPort": 80}, {"containerPort": 81}]}
    return {
        "metadata": {"namespace": "shop", "name": name, "uid": uid, "labels": {"app": name}},
        "spec": {"containers": [container], **spec},
        "status": {"phase": "Running", **({"podIP": address} if address else {})},
    }


def addresses(book: PodBook, *watched: dict[str, Any]) -> dict[str, str]:
    return {pod.name: pod.address for pod in book.current(list(watched))}


def test_an_admitted_pod_counts_before_the_api_server_knows_its_address() -> None:
    book = PodBook()
    book.admit(item("web"), "10.0.0.1")
    assert addresses(book, item("web")) == {"web": "10.0.0.1"}


def test_an_admitted_pod_counts_even_before_the_watch_shows_it() -> None:
    book = PodBook()
    book.admit(item("web"), "10.0.0.1")
    assert addresses(book) == {"web": "10.0.0.1"}


def test_a_pod_that_is_gone_is_forgotten() -> None:
    book = PodBook()
    book.admit(item("web"), "10.0.0.1")
    addresses(book, item("web"))
    assert addresses(book) == {}


def test_a_successor_of_the_same_name_does_not_inherit_the_address() -> None:
    book = PodBook()
    book.admit(item("web", "1"), "10.0.0.1")
    addresses(book, item("web", "1"))
    assert addresses(book, item("web", "2")) == {}


def test_a_successor_that_is_admitted_before_the_watch_shows_it_is_the_one_that_counts() -> None:
    book = PodBook()
    book.admit(item("web", "1"), "10.0.0.1")
    addresses(book, item("web", "1", address="10.0.0.1"))
    book.admit(item("web", "2"), "10.0.0.2")
    assert addresses(book, item("web", "1", address="10.0.0.1")) == {"web": "10.0.0.2"}


def test_an_address_belongs_to_the_pod_that_got_it_last() -> None:
    book = PodBook()
    book.admit(item("old"), "10.0.0.1")
    ending = item("old", address="10.0.0.1")
    addresses(book, ending)
    book.admit(item("new"), "10.0.0.1")
    assert addresses(book, ending, item("new")) == {"new": "10.0.0.1"}


def test_a_pod_whose_sandbox_is_made_anew_has_its_new_address() -> None:
    book = PodBook()
    book.admit(item("web"), "10.0.0.1")
    book.admit(item("web"), "10.0.0.2")
    assert addresses(book, item("web", address="10.0.0.1")) == {"web": "10.0.0.2"}


def test_pods_that_ended_or_share_the_nodes_network_do_not_count() -> None:
    done = item("done", address="10.0.0.1")
    done["status"]["phase"] = "Succeeded"
    assert addresses(PodBook(), done, item("host", address="10.250.0.2", hostNetwork=True)) == {}


def test_named_ports_of_all_containers_are_known() -> None:
    sidecar = {"ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}
    (pod,) = PodBook().current([item("web", address="10.0.0.1", initContainers=[sidecar])])
    assert [(port.name, port.protocol, port.number) for port in pod.ports] == [
        ("http", "TCP", 80),
        ("dns", "UDP", 53),
    ]
