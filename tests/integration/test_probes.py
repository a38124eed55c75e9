"""Probes over HTTP, from a thread of their own."""

import socket
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
