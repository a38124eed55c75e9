"""From the signup over HTTP to a verified code, for addresses of every valid shape."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from mailtopic_contract import Outcome, decode_status
from support.conditions import until
from support.kafka_records import Stored, read_everything
from support.pipeline import TOPIC, Pipeline, code_of

SIGNUPS = 200


def awkward_address(number: int) -> str:
    shapes: list[Callable[[int], str]] = [
        lambda n: f"plain{n}@example.test",
        lambda n: f"first.last{n}@example.test",
        lambda n: f"plus{n}+tag@example.test",
        lambda n: f"CamelCase{n}@Example.TEST",
        lambda n: f"idn{n}@пример{n}.рф",
        lambda n: f"{'x' * 60}{n:04d}@example.test",
        lambda n: f'"quoted user {n}"@example.test',
        lambda n: f"юзер{n}@пример.рф",
        lambda n: f"o'brien!#$%&*-{n}@example.test",
        lambda n: f"deep{n}@{'sub.' * 20}example.test",
    ]
    return shapes[number % len(shapes)](number)


async def sign_up(client: httpx.AsyncClient, address: str) -> str:
    locale = "en" if "plus" in address else "ru"
    answer = await client.post("/v1/signups", json={"email": address, "locale": locale})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["challenge_id"])


def words_of(locale_is_english: bool) -> str:  # noqa: FBT001 - a table of two
    return "Your code: " if locale_is_english else "Ваш код: "


async def test_awkward_addresses_get_readable_mails_whose_codes_verify_and_leak_nowhere(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    addresses = [awkward_address(number) for number in range(SIGNUPS)]
    async with (
        Pipeline(tmp_path) as pipeline,
        httpx.AsyncClient(base_url=pipeline.signup_url, timeout=30) as client,
    ):
        challenges = [await sign_up(client, address) for address in addresses]
        await until(
            lambda: _mail_count(pipeline, SIGNUPS), f"{SIGNUPS} mails arrived", timeout_s=60
        )
        mails = await pipeline.mails()
        texts = {_recipient(mail): await pipeline.mail_text(mail["ID"]) for mail in mails}
        assert len(mails) == len(texts) == SIGNUPS

        codes = []
        for address, challenge in zip(addresses, challenges, strict=True):
            text = texts[_as_delivered(address)]
            assert text.startswith(words_of("plus" in address))
            codes.append(code_of(text))
            url = f"/v1/signups/{challenge}/verify"
            answer = await client.post(url, json={"code": codes[-1]})
            assert answer.status_code == 200, answer.text
            assert answer.json()["state"] == "verified"
        metrics = await pipeline.metrics()
        stored = await read_everything(pipeline.kafka.bootstrap_servers, TOPIC)
    figure(f"{SIGNUPS} signups, {len(mails)} mails, {len(codes)} codes verified")
    _assert_nothing_leaks(pipeline, metrics, stored, codes, addresses)


async def _mail_count(pipeline: Pipeline, count: int) -> bool:
    return len(await pipeline.mails()) >= count


def _recipient(mail: dict[str, Any]) -> str:
    (recipient,) = mail["To"]
    return str(recipient["Address"])


def _as_delivered(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.lower().encode('idna').decode()}"


def _assert_nothing_leaks(
    pipeline: Pipeline,
    metrics: str,
    stored: list[Stored],
    codes: list[str],
    addresses: list[str],
) -> None:
    senders_and_signup = "".join(pipeline.log(n) for n in ["signup", *pipeline.sender_names])
    assert senders_and_signup
    visible = senders_and_signup + pipeline.log("inbox") + metrics
    visible += repr([record.headers for record in stored])
    for address in addresses:
        local = address.rpartition("@")[0].strip('"')
        assert local not in visible
    in_records = b"".join((record.value or b"") for record in stored).decode()
    whole_numbers = set(re.findall(r"(?<![0-9a-f.-])[0-9]{6}(?![0-9a-f-])", visible + in_records))
    assert not whole_numbers & set(codes)
    outcomes = [decode_status(r.value).outcome for r in stored if r.topic == f"{TOPIC}.status"]
    assert outcomes == [Outcome.ACCEPTED] * len(addresses)
    assert not [r for r in stored if r.topic == f"{TOPIC}.status" and b"@" in (r.value or b"")]


@pytest.mark.parametrize("name", ["signup", "sender-0"])
async def test_a_process_that_is_asked_to_stop_ends_with_zero(tmp_path: Path, name: str) -> None:
    async with Pipeline(tmp_path, senders=1) as pipeline:
        process = pipeline.processes[name]
        assert await asyncio.wait_for(process.end(grace_s=30), 40) == 0
        assert "Traceback" not in pipeline.logs()
