"""A recipient whom the relay can't or won't serve: the signup's state says so."""

from functools import partial
from pathlib import Path

import httpx

from mailtopic_contract import Outcome, decode_status
from support.conditions import until
from support.kafka_records import read_everything
from support.pipeline import TOPIC, Pipeline, RelayAddress
from support.smtp_relay import Authority, Fault, SmtpRelay

REFUSED = "gone@example.test"
NEEDS_SMTPUTF8 = "юзер@пример.рф"
FINE = "fine@example.test"
DELIVERIES = {REFUSED: "bounced", NEEDS_SMTPUTF8: "bounced", FINE: "sent"}


async def test_a_refused_recipient_ends_as_bounced_and_the_others_get_their_mail(
    tmp_path: Path,
) -> None:
    authority = Authority()
    ca_file = authority.write_pem(tmp_path / "ca.pem")
    async with SmtpRelay(tls=authority.server_context("127.0.0.1"), smtputf8=False) as relay:
        relay.fault(Fault("rcpt", reply="550 5.1.1 <gone> unknown", recipient=REFUSED))
        async with (
            Pipeline(tmp_path / "run", RelayAddress(relay.port, ca_file)) as pipeline,
            httpx.AsyncClient(base_url=pipeline.signup_url, timeout=30) as client,
        ):
            challenges = {address: await _sign_up(client, address) for address in DELIVERIES}
            for address, delivery in DELIVERIES.items():
                await until(
                    partial(_delivery_is, client, challenges[address], delivery),
                    f"the delivery of {address} is {delivery}",
                )
            stored = await read_everything(pipeline.kafka.bootstrap_servers, TOPIC)
            logs = pipeline.logs()
    outcomes = [decode_status(r.value).outcome for r in stored if r.topic == f"{TOPIC}.status"]
    assert sorted(outcomes) == [Outcome.ACCEPTED, Outcome.BOUNCED, Outcome.BOUNCED]
    assert [list(mail.recipients) for mail in relay.mails] == [[FINE]]
    assert "Traceback" not in logs
    assert not [r for r in stored if r.topic == f"{TOPIC}.dlq"]


async def test_who_was_refused_gets_no_second_mail_but_the_same_answer(tmp_path: Path) -> None:
    authority = Authority()
    ca_file = authority.write_pem(tmp_path / "ca.pem")
    # Only one signup may be a mail: the relay would take a second one.
    once = Fault("rcpt", reply="550 5.1.1 <gone> unknown", recipient=REFUSED, times=1)
    no_cooldown = {"MAILTOPIC_CODES__RESEND_COOLDOWN_S": "0"}
    async with SmtpRelay(tls=authority.server_context("127.0.0.1")) as relay:
        relay.fault(once)
        address = RelayAddress(relay.port, ca_file)
        async with (
            Pipeline(tmp_path / "run", address, senders=1, settings=no_cooldown) as pipeline,
            httpx.AsyncClient(base_url=pipeline.signup_url, timeout=30) as client,
        ):
            for _ in range(2):
                challenge = await _sign_up(client, REFUSED)
                bounced = partial(_delivery_is, client, challenge, "bounced")
                await until(bounced, "the address is refused")
            fine = await _sign_up(client, FINE)
            await until(partial(_delivery_is, client, fine, "sent"), "others get their mail")
            stored = await read_everything(pipeline.kafka.bootstrap_servers, TOPIC)
    outcomes = [decode_status(r.value).outcome for r in stored if r.topic == f"{TOPIC}.status"]
    assert sorted(outcomes) == [Outcome.ACCEPTED, Outcome.BOUNCED, Outcome.SUPPRESSED]
    assert len([r for r in stored if r.topic == TOPIC]) == 2
    assert [list(mail.recipients) for mail in relay.mails] == [[FINE]]


async def _sign_up(client: httpx.AsyncClient, address: str) -> str:
    answer = await client.post("/v1/signups", json={"email": address})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["challenge_id"])


async def _delivery_is(client: httpx.AsyncClient, challenge: str, delivery: str) -> bool:
    answer = await client.get(f"/v1/signups/{challenge}")
    return bool(answer.json()["delivery"] == delivery)
