"""Mails with every outcome: signups, some of which a relay refuses or defers."""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

import httpx

from mailtopic_client import KafkaClient, KafkaSettings
from support.conditions import until
from support.pipeline import TOPIC, code_of
from support.smtp_relay import Fault, SmtpRelay

REFUSALS = {
    "gone": Fault("rcpt", reply="550 5.1.1 No such user", recipient="gone@example.test"),
    "full": Fault("rcpt", reply="452 4.2.2 Mailbox full", recipient="full@example.test"),
    "later": Fault("rcpt", reply="451 4.3.0 Try again", recipient="later@example.test", times=1),
    "fast": Fault("rcpt", reply="451 4.7.28 Too fast", recipient="fast@example.test", times=1),
}
GARBAGE = (b"{", b'{"email": "nobody", "code": "1234"}', b"\xff")
_WRONG = {"code": "000000"}


async def everything_happens(relay: SmtpRelay, signup_url: str, servers: str) -> None:
    """Return when all of it has happened.

    Twenty people get their codes; ten use them, one guesses, one asks too soon for another. One
    relay's recipient is unknown, one has a full mailbox, two get their mail at a second try; three
    records are no mails at all.
    """
    for fault in REFUSALS.values():
        relay.fault(fault)
    people = [f"person{number}@example.test" for number in range(20)]
    async with httpx.AsyncClient(base_url=signup_url, timeout=30) as http:
        challenges = dict(
            zip(people, await asyncio.gather(*(_sign_up(http, p) for p in people)), strict=True)
        )
        for name in REFUSALS:
            await _sign_up(http, f"{name}@example.test")
        await _publish(servers, GARBAGE)
        wanted = {*people, "later@example.test", "fast@example.test"}
        await until(lambda: wanted <= _served(relay), "everybody has a mail", timeout_s=90)
        for person in people[:10]:
            code = {"code": code_of(_text(relay, person))}
            await _post(http, f"/v1/signups/{challenges[person]}/verify", code, 200)
        guessed = challenges[people[10]]
        await _post(http, f"/v1/signups/{guessed}/verify", _WRONG, 422)
        await _post(http, f"/v1/signups/{challenges[people[11]]}/resend", None, 429)
        await until(partial(_is_sent, http, guessed), "signup knows of the delivery")


async def somebody_signs_up(signup_url: str) -> None:
    """Begin: a rate can't see a series' first value, only what comes after it."""
    async with httpx.AsyncClient(base_url=signup_url, timeout=30) as http:
        await _sign_up(http, "somebody@example.test")


async def _sign_up(http: httpx.AsyncClient, address: str) -> str:
    return str((await _post(http, "/v1/signups", {"email": address}, 202))["challenge_id"])


async def _post(http: httpx.AsyncClient, path: str, body: object, status: int) -> Any:
    answer = await http.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def _is_sent(http: httpx.AsyncClient, challenge: str) -> bool:
    return bool((await http.get(f"/v1/signups/{challenge}")).json()["delivery"] == "sent")


async def _publish(servers: str, values: Iterable[bytes]) -> None:
    client = KafkaClient(KafkaSettings(bootstrap_servers=tuple(servers.split(","))))
    for value in values:
        await client.publish(TOPIC, key=b"k", value=value)
    await client.close()


def _served(relay: SmtpRelay) -> set[str]:
    return {mail.recipients[0] for mail in relay.mails}


def _text(relay: SmtpRelay, address: str) -> str:
    mail = next(mail for mail in relay.mails if mail.recipients == (address,))
    body = mail.message().get_body(("plain",))
    assert body is not None
    return str(body.get_content())
