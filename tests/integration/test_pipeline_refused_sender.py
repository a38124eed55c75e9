"""A relay that refuses the operator's from address: no person pays for it, and one line says so."""

import asyncio
import json
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import httpx
import pytest

from mailtopic_contract import Outcome, StatusEvent, decode_status
from mailtopic_observability.rules import Parameters, groups, scaled
from mailtopic_observability.rules.model import as_yaml
from support.conditions import until
from support.inhibitions import Labels, not_inhibited
from support.kafka_records import read_everything
from support.pipeline import TOPIC, Pipeline, RelayAddress
from support.prometheus import Series, running_prometheus, scrape_job
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


HOUR_S = 3600
FASTER = 10
"""Times of the next test are a tenth of those that they stand for: validity, tiers, alerts."""
PEOPLE = 500
LONGEST_PAUSE_S = 30
"""Of the mails that try while all are held; it isn't shorter here."""
VALID_S = 600 // FASTER
HOUR = {
    "MAILTOPIC_CODES__TTL_S": str(VALID_S),
    "MAILTOPIC_DELIVERY__RETRY_TIERS": "1s,6s,30s",
}


@pytest.mark.guarantees
@pytest.mark.timeout(900)
async def test_an_hour_of_refusals_costs_only_the_mails_that_expired(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    authority = Authority()
    ca_file = authority.write_pem(tmp_path / "ca.pem")
    rules = tmp_path / "rules.yaml"
    limits = Parameters(threshold_s=5, lag_limit_s=120 // FASTER, outbox_limit_s=60 // FASTER)
    rules.write_text(as_yaml(scaled(groups(limits), by=FASTER, least_range_s=5)))
    async with SmtpRelay(tls=authority.server_context("127.0.0.1")) as relay:
        fault = relay.fault(Fault("rcpt", reply="550 5.7.1 From not allowed"))
        address = RelayAddress(relay.port, ca_file)
        async with (
            Pipeline(tmp_path / "run", address, settings=HOUR) as pipeline,
            httpx.AsyncClient(base_url=pipeline.signup_url, timeout=30) as client,
        ):
            jobs = [
                scrape_job("signup", pipeline.signup_port),
                scrape_job("senders", *pipeline.metrics_ports),
            ]
            with running_prometheus(tmp_path / "prometheus", jobs, rule_files=[rules]) as watch:
                began_s = time.time()
                signed_at = await _sign_up_evenly(client, over_s=HOUR_S / FASTER)
                relay.heal(fault)
                mended_s = time.time()
                await until(
                    partial(_all_are_decided, pipeline), "every mail is decided", timeout_s=120
                )
                fired = watch.query_range(
                    'ALERTS{alertstate="firing"}', start_s=began_s, end_s=time.time(), step_s=1
                )
            events = await _events(pipeline)
            suppressed = _suppressed(pipeline)
            told = _lines(pipeline, "refusals.alike"), _lines(pipeline, "refusals.over")
            logs = pipeline.logs()
    outcomes = Counter({event.id: event.outcome for event in events}.values())
    noticed_s = relay.mails[0].received_at
    valid = {who for who, at_s in signed_at.items() if at_s + VALID_S > noticed_s + 2}
    figure(
        f"{PEOPLE} signups while the sender was refused for {mended_s - began_s:.0f} s, noticed"
        f" {noticed_s - mended_s:.0f} s after the mend: {dict(outcomes)}, {suppressed} suppressed,"
        f" {told} lines; alerts: {_reaching(fired)}, of {sorted(_names(fired))} that fired"
    )
    assert noticed_s - mended_s < LONGEST_PAUSE_S + 5
    assert set(outcomes) == {Outcome.ACCEPTED, Outcome.EXPIRED}
    assert outcomes.total() == PEOPLE
    assert valid <= {str(*mail.recipients) for mail in relay.mails}
    assert suppressed == 0
    assert told == (pipeline.senders, pipeline.senders)
    assert _reaching(fired) == {"MailTopicSenderRefused"}
    assert "Traceback" not in logs


def _names(alerts: Iterable[Series]) -> set[str]:
    return {each.labels["alertname"] for each in alerts}


def _reaching(fired: Sequence[Series]) -> set[str]:
    """Return the alerts that the guide's Alertmanager passes on while another one fires or not."""
    at: defaultdict[float, list[Labels]] = defaultdict(list)
    for each in fired:
        for at_s, _ in each.points:
            at[at_s].append(each.labels)
    return {labels["alertname"] for firing in at.values() for labels in not_inhibited(firing)}


async def _sign_up_evenly(client: httpx.AsyncClient, *, over_s: float) -> dict[str, float]:
    """Sign people up; returns when each one did, epoch seconds."""
    signed_at: dict[str, float] = {}
    began_s = time.time()
    for number in range(PEOPLE):
        await asyncio.sleep(max(began_s + number * over_s / PEOPLE - time.time(), 0))
        person = f"person{number}@d{number % 3}.example.test"
        signed_at[person] = time.time()
        await _sign_up(client, person)
    return signed_at


async def _all_are_decided(pipeline: Pipeline) -> bool:
    last = {event.id: event.outcome for event in await _events(pipeline)}
    return len(last) == PEOPLE and all(outcome.final for outcome in last.values())


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
