"""Probes over HTTP, from a thread of their own."""

import contextlib
import os
import resource
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from mailtopic_runtime import MetricsSettings, ProbeServer, SettingError


class Health:
    live: str | None = None
    ready: str | None = "no partition is assigned yet"


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def url(health: Health) -> Iterator[str]:
    registry = CollectorRegistry()
    Counter("example_total", "An example", registry=registry).inc(3)
    server = ProbeServer(
        MetricsSettings(port=0), registry, live=lambda: health.live, ready=lambda: health.ready
    )
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def test_a_probe_answers_200_or_503_with_the_problem_in_words(url: str, health: Health) -> None:
    assert httpx.get(f"{url}/livez").status_code == 200
    ready = httpx.get(f"{url}/readyz")
    assert (ready.status_code, ready.text) == (503, "no partition is assigned yet\n")
    health.ready = None
    assert httpx.get(f"{url}/readyz").status_code == 200


def test_metrics_are_served_and_other_paths_are_not(url: str) -> None:
    assert "example_total 3.0" in httpx.get(f"{url}/metrics").text
    assert httpx.get(f"{url}/etc").status_code == 404


def test_several_processes_on_one_machine_need_no_ports_to_be_set() -> None:
    def ok() -> None:
        return None

    servers = [
        ProbeServer(MetricsSettings(), CollectorRegistry(), live=ok, ready=ok) for _ in range(2)
    ]
    try:
        for server in servers:
            server.start()
        ports = {server.port for server in servers}
        assert len(ports) == 2
        for port in ports:
            assert httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200
    finally:
        for server in servers:
            server.stop()


def test_a_port_that_is_taken_names_the_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = ProbeServer(
            MetricsSettings(port=port), CollectorRegistry(), live=lambda: None, ready=lambda: None
        )
        with pytest.raises(SettingError, match=f"MAILTOPIC_METRICS__PORT: port {port}"):
            server.start()


def test_head_is_answered_as_get_without_its_body(url: str) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/etc"):
        got, asked = httpx.get(f"{url}{path}"), httpx.head(f"{url}{path}")
        assert (asked.status_code, asked.content) == (got.status_code, b"")
        assert abs(int(asked.headers["content-length"]) - len(got.content)) < 100
    refused = httpx.post(f"{url}/livez")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@contextlib.contextmanager
def held(url: str, count: int, sent: bytes) -> Iterator[None]:
    """Connections on which a beginning was sent, and nothing comes after it."""
    port = int(url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            with contextlib.suppress(OSError):  # ended already
                connection.sendall(sent)
        yield


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nX-Slow: "])
def test_half_open_connections_get_few_threads_and_probes_answer_beside_them(
    url: str, sent: bytes
) -> None:
    before = threading.active_count()
    with held(url, 300, sent):
        for _ in range(5):
            assert httpx.get(f"{url}/livez", timeout=5).status_code == 200
        assert threading.active_count() - before < 50


def test_probes_answer_when_the_process_has_no_descriptors_left(url: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        client = stack.enter_context(socket.socket())
        for _ in range(10):
            stack.enter_context(socket.create_connection(address(url)))
        assert httpx.get(f"{url}/livez").status_code == 200  # all of them are accepted
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, before[1]))
        stack.enter_context(no_descriptors_left())
        client.settimeout(10)
        client.connect(address(url))
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert b"200 OK" in client.recv(1000)


def test_a_head_that_is_too_long_ends_the_connection(url: str) -> None:
    with socket.create_connection(address(url)) as connection, contextlib.suppress(OSError):
        connection.sendall(b"GET /livez HTTP/1.1\r\n" + b"X-Long: " + b"x" * 60_000 + b"\r\n\r\n")
        assert b"200" not in connection.recv(1000)


def address(url: str) -> tuple[str, int]:
    return "127.0.0.1", int(url.rpartition(":")[2])


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            while True:
                stack.enter_context(open(os.devnull))  # noqa: PTH123 - to be many
        except OSError:
            yield
