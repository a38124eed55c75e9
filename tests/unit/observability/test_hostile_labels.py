"""Thousands of hostile requests, records and replies: no address, and no series without bound."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from mailtopic_client import KafkaSettings, MemoryBroker
from mailtopic_contract import KeyRing
from mailtopic_observability.catalogue import OURS
from mailtopic_runtime import ManualClock
from mailtopic_sender.adapters.memory_relay import MemoryRelay
from mailtopic_sender.domain.flood import FloodLimits
from mailtopic_sender.domain.pace import RefusalKind
from mailtopic_sender.domain.refusals import RefusalLimits
from mailtopic_sender.domain.replies import ReplyClass, classify
from mailtopic_sender.domain.reply_text import redact
from mailtopic_sender.engine.relays.patience import Patience
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_signup.bootstrap import assemble
from mailtopic_signup.settings import (
    DatabaseSettings,
    PepperSettings,
    SealingSettings,
    SignupSettings,
)
from support.conditions import until
from support.engines import NAMES, Engine
from support.signup_service import PEPPERS

SECRET = "secret.person"
REQUESTS = 600
RECORDS = 2000
Series = set[tuple[str, tuple[tuple[str, str], ...]]]


def check(series: Series) -> None:
    """Hold what was shown against what the catalogue promises of each label."""
    closed = {
        (sample, label.name): {*label.values, "other"}
        for metric in OURS
        for sample in metric.samples
        for label in metric.labels
        if label.values
    }
    for name, labels in series:
        for label, value in labels:
            assert value in closed.get((name, label), {value}), (name, label)
            assert SECRET not in value


def of_text(text: str) -> Series:
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of_registry(registry: CollectorRegistry) -> Series:
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for metric in registry.collect()
        for sample in metric.samples
    }


def odd_requests(chance: random.Random) -> Iterator[httpx.Request]:
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND"]
    for number in range(REQUESTS):
        odd = "".join(chance.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(8))
        path = chance.choice(
            [
                f"/{SECRET}{number}",
                f"/v1/signups/{SECRET}-{number}",
                f"/v1/signups/{number}/verify",
                f"/v1/signups/{number}/resend",
                f"/static/{number}/../{SECRET}",
                "/v1/signups",
                "/metrics/",
                f"/%ff%00{number}",
            ]
        )
        yield httpx.Request(
            chance.choice([*methods, odd, f"{odd}-{number}"]),
            f"http://signup.test{path}?email={SECRET}@example.com&n={number}",
            headers={
                "Host": f"{odd}.example",
                "X-Request-Id": f"{SECRET}-{number}",
                "Content-Type": chance.choice(["application/json", f"text/{odd.lower()}"]),
                "Accept-Language": odd,
            },
            content=chance.choice([b"", b"{", b'{"email": "%d"}' % number, b"\xff" * 100]),
        )


async def test_no_request_adds_series_without_bound(tmp_path: Path) -> None:
    (tmp_path / "peppers.json").write_text(json.dumps(PEPPERS))
    (tmp_path / "keys.json").write_text(KeyRing.generate().dump())
    settings = SignupSettings(
        topic="mails",
        kafka=KafkaSettings(bootstrap_servers=("127.0.0.1:1",)),
        pepper=PepperSettings(keys_file=tmp_path / "peppers.json"),
        sealing=SealingSettings(keys_file=tmp_path / "keys.json"),
        database=DatabaseSettings(
            url=SecretStr(f"sqlite:///{tmp_path}/signup.db"), synchronous="NORMAL"
        ),
    )
    parts = assemble(settings, ManualClock(), MemoryBroker())
    await parts.database.prepare()
    chance = random.Random(1)  # noqa: S311 - repeatable
    counts = []
    transport = httpx.ASGITransport(parts.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://signup.test") as client:
        for _ in range(2):
            for request in odd_requests(chance):
                await client.send(request)
            series = of_text((await client.get("/metrics")).text)
            check(series)
            counts.append(len({s for s in series if s[0] == "mailtopic_request_seconds_count"}))
    await parts.database.close()
    # 8 methods, 5 routes with what isn't matched, and the few statuses of each.
    assert counts[1] - counts[0] <= 3
    assert counts[1] <= 120


def odd_result(chance: random.Random, number: int) -> DeliveryResult:
    code = chance.choice([chance.randrange(-5, 1000), 250, 421, 451, 550, 552, 554])
    enhanced = chance.choice([None, f"5.{number % 10}.{number % 1000}", "4.7.1"])
    words = chance.choice(["rate limit", "no such user", "spam", "mailbox full", "not verified"])
    text = f"<{SECRET}{number}@example.com> {chance.getrandbits(200):x} {words} {number}"
    phase = chance.choice(["connect", "mail", "rcpt", "data", "body"])
    kind = ReplyClass.PROTOCOL if not 200 <= code < 600 else classify(code, enhanced, phase, text)
    # The engine would wait for the relay, or for the pace that such refusals lower.
    if kind.blames_relay or RefusalKind.of(kind, phase) is not RefusalKind.MAIL:
        kind, phase = ReplyClass.GREYLISTED, "rcpt"
    return DeliveryResult(
        kind, relay="first", phase=phase, smtp=f"{code} {enhanced}", detail=redact(text)
    )


def odd_value(chance: random.Random, number: int) -> bytes:
    person = f"{SECRET}{number}@example.com"
    whole = {
        "v": 1,
        "id": f"00000000-0000-4000-8000-{number:012}",
        "email": person,
        "purpose": f"purpose-{number}",
        "locale": f"l{number % 97}",
        "variables": {"code": f"{number:06}"},
        "accepted_at": number,
        "expires_at": 4_000_000_000_000,
    }
    return chance.choice(
        [
            b"",
            chance.randbytes(50),
            json.dumps({"email": person, "code": number}).encode(),
            json.dumps(whole).encode(),
            json.dumps(whole | {"v": number}).encode(),
            json.dumps(whole | {"email": f"{number}"}).encode(),
            json.dumps(whole | {"expires_at": 1}).encode(),
            json.dumps(whole | {f"extra{number}": person}).encode(),
            json.dumps([person] * (number % 50)).encode(),
        ]
    )


def odd_headers(odd: bytes) -> list[tuple[str, bytes]]:
    return [("mt-error-class", odd), ("mt-error-smtp", odd), ("mt-origin-topic", odd)]


async def test_no_record_and_no_reply_adds_a_series() -> None:
    chance = random.Random(2)  # noqa: S311 - repeatable
    engine = Engine(
        relay=MemoryRelay(),
        patience=Patience(refusals=1),
        max_in_flight=200,
        max_held_records=400,
        flood_limits=FloodLimits(share=1),
        refusal_limits=RefusalLimits(ours=RECORDS, unclear=RECORDS, known=RECORDS),
    )
    engine.relay.script(*(odd_result(chance, number) for number in range(RECORDS)))
    before: Series = set()

    def done() -> int:
        return len(engine.kafka.stored(NAMES.status))

    async with engine.running():
        for number in range(RECORDS):
            odd = f"{SECRET}{number}".encode()
            await engine.kafka.publish(
                NAMES.main,
                key=odd,
                value=odd_value(chance, number),
                headers=odd_headers(odd) if number % 5 == 0 else [(f"x-{number}", odd)],
            )
            if number == RECORDS // 3:
                await until(lambda: done() > RECORDS // 3, "a third is done", timeout_s=60)
                before = of_registry(engine.registry)
        await until(lambda: done() == RECORDS, "all are done", timeout_s=60)
        after = of_registry(engine.registry)
    check(after)
    assert len(engine.kafka.stored(NAMES.dlq)) > RECORDS // 10
    assert len(after) == len(before)
    dead = {
        sample.labels["reason"]
        for metric in engine.registry.collect()
        for sample in metric.samples
        if sample.name == "mailtopic_dead_letters_total" and sample.value
    }
    assert "other" not in dead
    assert len(dead) >= 4
