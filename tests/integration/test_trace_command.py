"""`mailtopic trace` on the real pipeline: signup, Kafka, a sender and a relay."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import signup_tag
from support.conditions import until
from support.ports import free_port
from support.senders import Bench
from support.signup_process import SignupProcess
from support.smtp_relay import Fault

ADDRESS = "somebody.traced@example.com"
LATER = f"451 4.7.1 <{ADDRESS}> Greylisted, code 482913"


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        bench.settings["MAILTOPIC_DELIVERY__RETRY_TIERS"] = "1s,5s"
        yield bench


async def trace(bench: Bench, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Run the command as its users do; returns the exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mailtopic_cli",
        "trace",
        *arguments,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(bench.directory),
            "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": bench.servers,
            "MAILTOPIC_TOPIC": bench.topic,
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_mail_deferred_twice_and_then_delivered_tells_its_story_in_order(
    bench: Bench,
) -> None:
    bench.relay.fault(Fault("rcpt", reply=LATER, times=2))
    await bench.start_ready()
    signup = SignupProcess(bench.directory, bench.servers, bench.topic)
    await signup.start()
    try:
        async with httpx.AsyncClient(base_url=signup.url) as client:
            answer = await client.post("/v1/signups", json={"email": ADDRESS})
        challenge_id = answer.json()["challenge_id"]
        await bench.delivered([ADDRESS])
        await until(lambda: "mail.accepted" in bench.log(), "the outcome is told")
    finally:
        await signup.stop()
    logs = bench.log()
    # By the signup's id, from logs; what kubectl puts in front of lines does no harm.
    piped = re.sub(r"^", "[pod/some-pod-1/main] ", logs, flags=re.MULTILINE)
    code, out, err = await trace(bench, challenge_id, "--logs", "-", "--json", stdin=piped)
    assert (code, err) == (0, "")
    (mail,) = json.loads(out)["mails"]
    assert [(e["event"], e["attempt"]) for e in mail["events"]] == [
        ("accepted for delivery", None),
        ("queued", None),
        ("published", None),
        ("deferred", 1),
        ("deferred", 2),
        ("accepted", 3),
    ]
    assert [e["at"] for e in mail["events"]] == sorted(e["at"] for e in mail["events"])
    assert (mail["outcome"], mail["final"], mail["attempts"]) == ("accepted", True, 3)
    assert mail["signup"] == signup_tag(challenge_id)
    assert re.fullmatch(r"[0-9a-f]{12}", mail["recipient"])
    delivered = mail["events"][-1]
    assert delivered["smtp"] == "250 2.0.0"
    assert delivered["transmit_ms"] > 0
    assert delivered["pod"] == "some-pod-1"
    # By the mail's id, from Kafka alone.
    code, told, err = await trace(bench, mail["id"])
    assert (code, err) == (0, "")
    assert [re.split(r"  +", line)[-1].split(",")[0] for line in told.splitlines()[1:-1]] == [
        "accepted for delivery",
        "attempt 1: deferred",
        "attempt 2: deferred",
        "attempt 3: delivered to the relay",
    ]
    assert re.search(r"final: delivered to the relay after [0-9.]+ s, in 3 attempts", told)
    # By the address, which is no argument.
    code, of_address, err = await trace(bench, "--recipient", stdin=f"{ADDRESS}\n")
    assert (code, err) == (0, "")
    assert of_address == told
    nothing_personal(bench, logs + out + told)


def nothing_personal(bench: Bench, told: str) -> None:
    assert "somebody" not in told
    assert "482913" not in told
    (mail,) = bench.relay.mails
    text: Any = mail.message().get_body(("plain",))
    (secret,) = re.findall(r"\b[0-9]{6}\b", text.get_content())
    assert not re.search(rf"(?<![0-9a-f.]){secret}(?![0-9a-f])", told)


async def test_an_unknown_id_and_a_broker_that_is_away_are_one_line_and_code_1(
    bench: Bench,
) -> None:
    await bench.start_ready()
    unknown = str(uuid4())
    code, out, err = await trace(bench, unknown)
    assert (code, out) == (1, "")
    assert f"nothing is known of {unknown}" in err
    away = ["--bootstrap-servers", f"127.0.0.1:{free_port()}", "--timeout", "1"]
    code, out, err = await trace(bench, unknown, *away)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"(Waiting.*\n)?mailtopic trace: no broker answers.*\n", err)
