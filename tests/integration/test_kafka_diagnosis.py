"""Which address of which broker answers what, in the words of every client."""

import asyncio
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from mailtopic_cli.children import Child
from mailtopic_client import BrokerUnavailable, KafkaClient, KafkaSettings
from mailtopic_client.adapters.kafka_diagnosis import diagnose
from support.conditions import until
from support.kafka_listeners import PASSWORD, USER, ListenersNode
from support.ports import free_port
from support.senders import Bench
from support.smtp_relay import Authority


@pytest.fixture(scope="module")
def node() -> Iterator[ListenersNode]:
    with tempfile.TemporaryDirectory() as directory:
        node = ListenersNode(Path(directory))
        asyncio.run(node.start())
        yield node
        asyncio.run(node.stop())


def settings(node: ListenersNode, listener: str, **others: Any) -> KafkaSettings:
    port = {
        "plain": node.bootstrap_servers.rpartition(":")[2],
        "sasl": node.sasl_port,
        "tls": node.tls_port,
        "lost": node.lost_port,
    }[listener]
    return KafkaSettings(bootstrap_servers=(f"127.0.0.1:{port}",), **others)


LOGIN: dict[str, Any] = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "username": USER,
    "password": SecretStr(PASSWORD),
}
WRONG = "the broker refuses the login"
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "TLS, but the port has none": ("plain", {"security_protocol": "SSL"}, "it speaks no TLS"),
    "no TLS, but the port has": ("tls", {}, "it speaks TLS"),
    "a login without TLS, but the port has TLS": ("tls", LOGIN, "it speaks TLS"),
    "no login, but the port wants one": ("sasl", {}, "it wants a login"),
    "a login, but the port takes none": ("plain", LOGIN, "it takes no login"),
    "a wrong password": ("sasl", LOGIN | {"password": SecretStr("wrong")}, WRONG),
    "a wrong user": ("sasl", LOGIN | {"username": "stranger"}, WRONG),
    "a wrong mechanism": (
        "sasl",
        LOGIN | {"sasl_mechanism": "SCRAM-SHA-512"},
        "does not offer the SASL mechanism SCRAM-SHA-512, only PLAIN",
    ),
    "an advertised address that does not answer": ("lost", {}, "(advertised.listeners): broker 1"),
}


@pytest.mark.parametrize("case", CASES)
async def test_what_is_wrong_is_named_with_its_address(node: ListenersNode, case: str) -> None:
    listener, others, words = CASES[case]
    kafka = settings(node, listener, **others)
    reason = await diagnose(kafka.client_kwargs()) or ""
    assert words in reason
    assert kafka.bootstrap_servers[0] in reason
    assert "\n" not in reason
    assert not {USER, "stranger", PASSWORD, "wrong\n"} & set(reason.split())
    if listener == "lost":
        assert f"127.0.0.1:{node.nothing}: connection refused" in reason


async def test_where_all_is_well_nothing_is_said(node: ListenersNode) -> None:
    tls = settings(node, "tls", security_protocol="SSL", ca_file=str(node.ca_file))
    for kafka in (settings(node, "plain"), settings(node, "sasl", **LOGIN), tls):
        assert await diagnose(kafka.client_kwargs()) is None


async def test_a_certificate_of_a_stranger_is_named(node: ListenersNode, tmp_path: Path) -> None:
    ca_file = str(Authority().write_pem(tmp_path / "ca.pem"))
    kafka = settings(node, "tls", security_protocol="SSL", ca_file=ca_file)
    assert "its certificate is refused: " in (await diagnose(kafka.client_kwargs()) or "")


async def test_addresses_that_lead_nowhere_are_told_apart() -> None:
    held: list[asyncio.StreamWriter] = []
    hung = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1", 0)
    port = hung.sockets[0].getsockname()[1]
    servers = (f"127.0.0.1:{free_port()}", "no-such-host.invalid:9092", f"127.0.0.1:{port}")
    reason = await diagnose(KafkaSettings(bootstrap_servers=servers).client_kwargs()) or ""
    hung.close()
    for writer in held:
        writer.close()
        await writer.wait_closed()
    assert reason.startswith("no broker answers (")
    assert f"{servers[0]}: connection refused" in reason
    assert f"{servers[1]}: the host name is not found" in reason
    assert f"{servers[2]}: no answer within 4 s" in reason


async def test_the_publisher_says_it(node: ListenersNode, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    client = KafkaClient(settings(node, "tls", request_timeout_s=2), publish_timeout_s=15)
    with pytest.raises(BrokerUnavailable):
        await client.publish("mails", key=b"k", value=b"v")
    assert "it speaks TLS" in (client.problem or "")
    await client.close()


async def test_the_sender_says_it(node: ListenersNode, tmp_path: Path, topic: str) -> None:
    async with Bench(tmp_path, f"127.0.0.1:{node.lost_port}", topic) as bench:
        bench.start()
        words = f"broker 1 at 127.0.0.1:{node.nothing}: connection refused"

        async def says() -> bool:
            return words in await bench.probe("readyz")

        await until(says, "readiness says so")
        assert await bench.probe("livez") == "ok\n"
        assert bench.log().count("broker.unavailable") == 1
        assert words in bench.log()


@pytest.mark.parametrize(
    "command", [["dlq", "list"], ["trace", "11111111-2222-4333-8444-555555555555"]]
)
async def test_the_commands_say_it(node: ListenersNode, tmp_path: Path, command: list[str]) -> None:
    port = node.tls_port
    options = ["--bootstrap-servers", f"127.0.0.1:{port}", "--topic", "mails", "--timeout", "2"]
    log = tmp_path / "command.log"
    child = Child(
        [sys.executable, "-m", "mailtopic_cli", *command, *options],
        log_file=log,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd=tmp_path,
    )
    assert await asyncio.wait_for(child.wait(), 60) == 1
    assert f"127.0.0.1:{port}: it speaks TLS" in log.read_text().splitlines()[-1]
