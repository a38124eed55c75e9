"""A relay that refuses the operator's from address: no person pays for it, and one line says so."""

import json
import sqlite3
from collections import Counter
from functools import partial
from pathlib import Path

import httpx
import pytest

from mailtopic_contract import Outcome, StatusEvent, decode_status
from support.conditions import until
from support.kafka_records import read_everything
from support.pipeline import TOPIC, Pipeline, RelayAddress
from support.smtp_relay import Authority, Fault, SmtpRelay

SIGNUPS = 60
QUICK = {"MAILTOPIC_DELIVERY__RETRY_TIERS": "1s,5s"}


@pytest.mark.parametrize(
    ("phase", "reply"),
    [
        ("rcpt", "550 5.7.1 From not allowed"),
        ("mail", "553 5.7.1 <noreply@shop.example>: Sender address rejected: not owned by user"),
        ("rcpt", "550 Computer says no"),
    ],
)
async def test_signups_outlive_a_relay_that_refuses_the_sender(
    tmp_path: Path, phase: str, reply: str
) -> None:
    authority = Authority()
    ca_file = authority.write_pem(tmp_path / "ca.pem")
    people = [f"person{number}@d{number % 3}.example.test" for number in range(SIGNUPS)]
    async with SmtpRelay(tls=authority.server_context("127.0.0.1")) as relay:
        fault = relay.fault(Fault(phase, reply=reply))
        address = RelayAddress(relay.port, ca_file)
        async with (
            Pipeline(tmp_path / "run", address, settings=QUICK) as pipeline,
            httpx.AsyncClient(base_url=pipeline.signup_url, timeout=30) as client,
        ):
            challenges = [await _sign_up(client, person) for person in people]
            await until(
                lambda: _lines(pipeline, "refusals.alike") == pipeline.senders,
                "each sender says so once",
                timeout_s=60,
            )
            # What was marked before it was noticed is taken back while the relay still refuses.
            await until(partial(_nobody_is_marked, pipeline), "nobody is marked", timeout_s=60)
            refused = await _shown(client, challenges)
            relay.heal(fault)
            await until(lambda: len(relay.mails) >= SIGNUPS, "all are delivered", timeout_s=120)
            await until(partial(_all_are_sent, client, challenges), "and shown so", timeout_s=60)
            events = await _events(pipeline)
            suppressed = _suppressed(pipeline)
            logs = pipeline.logs()
            told = _lines(pipeline, "refusals.alike"), _lines(pipeline, "refusals.over")
    assert set(refused) <= {"queued", "deferred"}
    assert Counter(str(*mail.recipients) for mail in relay.mails) == Counter(people)
    last = {event.id: event.outcome for event in events}
    assert Counter(last.values()) == {Outcome.ACCEPTED: SIGNUPS}
    marked = [event for event in events if event.outcome is Outcome.BOUNCED]
    assert len(marked) == sum(bool(event.taken_back) for event in events)
    assert suppressed == 0
    assert told == (pipeline.senders, pipeline.senders)
    assert "Traceback" not in logs


async def _sign_up(client: httpx.AsyncClient, address: str) -> str:
    answer = await client.post("/v1/signups", json={"email": address})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["challenge_id"])


async def _shown(client: httpx.AsyncClient, challenges: list[str]) -> list[str]:
    answers = [await client.get(f"/v1/signups/{challenge}") for challenge in challenges]
    return [answer.json()["delivery"] for answer in answers]


async def _all_are_sent(client: httpx.AsyncClient, challenges: list[str]) -> bool:
    return set(await _shown(client, challenges)) == {"sent"}


async def _events(pipeline: Pipeline) -> list[StatusEvent]:
    stored = await read_everything(pipeline.kafka.bootstrap_servers, TOPIC)
    return [decode_status(each.value) for each in stored if each.topic == f"{TOPIC}.status"]


async def _nobody_is_marked(pipeline: Pipeline) -> bool:
    last = {event.id: event.outcome for event in await _events(pipeline)}
    return Outcome.BOUNCED not in last.values() and _suppressed(pipeline) == 0


def _suppressed(pipeline: Pipeline) -> int:
    with sqlite3.connect(f"file:{pipeline.directory}/signup.db?mode=ro", uri=True) as database:
        return int(database.execute("SELECT count(*) FROM suppressions").fetchone()[0])


def _lines(pipeline: Pipeline, event: str) -> int:
    return sum(
        json.loads(line).get("event") == event
        for name in pipeline.sender_names
        for line in pipeline.log_file(name).read_text(encoding="utf-8").splitlines()
        if line.startswith("{")
    )
