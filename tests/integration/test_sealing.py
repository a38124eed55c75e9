"""A sealed code that is sent elsewhere by readers and writers of the topic, without a key."""

import json
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import (
    MailHeaders,
    MailRecord,
    MailSeal,
    Outcome,
    SealVersion,
    decode_headers,
    new_record,
)
from support.conditions import until
from support.senders import Bench

CODE = "271828"
ELSEWHERE = "mallory@example.com"


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        yield bench


def sealed(bench: Bench, topic: str, version: SealVersion, *, ttl_s: int = 600) -> MailRecord:
    """A mail to a victim of its own, so that none supersedes another."""
    now_ms = time.time_ns() // 1_000_000
    return new_record(
        email=f"victim-{uuid.uuid4().hex}@example.com",
        variables={"code": CODE},
        purpose="signup",
        locale="ru",
        accepted_at_ms=now_ms - 1000,
        expires_at_ms=now_ms - 1000 + ttl_s * 1000,
        seal=MailSeal(bench.keyring, topic, version=version),
    )


def attacks(bench: Bench, version: SealVersion) -> dict[str, tuple[MailRecord, dict[str, object]]]:
    """Records as they were published, and what an attacker changes in a copy."""
    mine, later = bench.topic, time.time_ns() // 1_000_000 + 3_600_000
    return {
        "recipient": (sealed(bench, mine, version), {"email": ELSEWHERE}),
        "purpose": (sealed(bench, mine, version), {"purpose": "account-exists"}),
        "locale": (sealed(bench, mine, version), {"locale": "en"}),
        "acceptance": (sealed(bench, mine, version), {"accepted_at": later - 3_600_000}),
        "expiry": (sealed(bench, mine, version, ttl_s=0), {"expires_at": later}),
        "topic": (sealed(bench, "other", version), {}),
        "id": (sealed(bench, mine, version), {"id": str(uuid.uuid4())}),
    }


async def attack(bench: Bench, version: SealVersion) -> dict[str, str]:
    """Publish the copies; return the name of each attack by its mail's id."""
    names = {}
    for name, (mail, change) in attacks(bench, version).items():
        value = json.loads(mail.encode()) | change
        mail_id = str(value["id"])
        names[mail_id] = name
        await bench.broker.publish(
            bench.topic,
            key=f"{version}-{name}".encode(),
            value=json.dumps(value).encode(),
            headers=MailHeaders(mail_id=uuid.UUID(mail_id)).encode(),
        )
    return names


async def outcomes(bench: Bench, names: dict[str, str]) -> dict[str, Outcome]:
    """The final outcome of each attack that has one."""
    return {
        names[str(event.id)]: event.outcome
        for event in await bench.events()
        if event.outcome.final and str(event.id) in names
    }


async def test_no_redirected_code_is_sent_in_version_2_and_six_of_seven_in_version_1(
    bench: Bench,
) -> None:
    await bench.start_ready()
    old, new = await attack(bench, 1), await attack(bench, 2)

    async def all_ended() -> bool:
        return len(await outcomes(bench, old)) + len(await outcomes(bench, new)) == 14

    await until(all_ended, "every attack has an outcome")
    assert await outcomes(bench, old) == {
        name: Outcome.DEAD if name == "id" else Outcome.ACCEPTED for name in old.values()
    }
    # The attack succeeds: the victim's code in another's mailbox.
    assert any(
        mail.recipients == (ELSEWHERE,) and CODE in str(mail.message())
        for mail in bench.relay.mails
    )
    assert await outcomes(bench, new) == dict.fromkeys(new.values(), Outcome.DEAD)
    assert len(bench.relay.mails) == 6

    dead = await bench.records(f"{bench.topic}.dlq")
    errors = [decode_headers(record.headers).error for record in dead]
    assert len(dead) == 8
    for error in errors:
        assert error is not None
        assert error.error_type == "SealingError"
        assert "the mail was changed, or is another topic's" in error.message
    assert CODE not in bench.log()
    assert "example.com" not in bench.log()
    counted = f'mailtopic_sealed_in_version_1_total{{topic="{bench.topic}"}} 7.0'
    assert counted in await bench.probe("metrics")


async def test_version_1_is_dead_where_it_is_switched_off_and_a_former_topics_mail_is_sent(
    bench: Bench,
) -> None:
    bench.settings["MAILTOPIC_SEALING__ACCEPT_VERSION1"] = "false"
    bench.settings["MAILTOPIC_SEALING__FORMER_TOPICS"] = "other"
    await bench.start_ready()
    await bench.mails.publish(sealed(bench, bench.topic, 1))
    moved = sealed(bench, "other", 2)
    await bench.mails.publish(moved)
    await bench.delivered([moved.email])

    async def is_dead() -> bool:
        return len(await bench.records(f"{bench.topic}.dlq")) == 1

    await until(is_dead, "the mail in version 1 is dead")
    (dead,) = await bench.records(f"{bench.topic}.dlq")
    error = decode_headers(dead.headers).error
    assert error is not None
    assert "version 1, which is switched off here" in error.message
    assert len(bench.relay.mails) == 1
