"""The sender process and its relays: logins that fail, relays that go, rates that are shared."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import Outcome, StatusEvent
from support.conditions import until
from support.login_server import LoginServer
from support.oauth_server import CLIENT_ID, CLIENT_SECRET, USER, OAuthServer
from support.senders import Bench
from support.smtp_relay import Authority, Fault, SmtpRelay
from support.smtp_times import largest_excess

ONE_RELAY = ("HOST", "PORT", "SECURITY", "CA_FILE", "USERNAME", "PASSWORD")


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        yield bench


def several(*relays: dict[str, object]) -> dict[str, str]:
    """The settings that name several relays, and unname the one."""
    return {f"MAILTOPIC_SMTP__{name}": "" for name in ONE_RELAY} | {
        "MAILTOPIC_RELAYS": json.dumps(relays)
    }


def entry(bench: Bench, relay: SmtpRelay, name: str, **others: object) -> dict[str, object]:
    where = {"name": name, "host": relay.host, "port": relay.port}
    return {**where, "ca_file": str(bench.directory / "ca.pem"), **others}


def addresses(count: int, domain: str = "example.com") -> list[str]:
    return [f"user{number}@{domain}" for number in range(count)]


async def publish(bench: Bench, recipients: Sequence[str]) -> None:
    for recipient in recipients:
        await bench.mails.send_code("123456", recipient)


async def final_events(bench: Bench, count: int) -> list[StatusEvent]:
    """Every event, once so many mails have a final one."""

    async def are_there() -> bool:
        return sum(event.outcome.final for event in await bench.events()) >= count

    await until(are_there, f"{count} final outcomes", timeout_s=60)
    return await bench.events()


async def metric(bench: Bench, name: str, **labels: str) -> float | None:
    text = await bench.probe("metrics")
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return None


async def test_a_login_that_is_refused_for_a_while_costs_no_attempt(
    bench: Bench, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("right")
    bench.relay.users = {"sender": "right"}
    bench.relay.require_login = True
    bench.settings |= {
        "MAILTOPIC_SMTP__USERNAME": "sender",
        "MAILTOPIC_SMTP__PASSWORD_FILE": str(password),
    }
    refusal = bench.relay.fault(Fault("auth", reply="535 5.7.8 authentication failed"))
    await bench.start_ready()
    everybody = addresses(100)
    await publish(bench, everybody)
    await until(lambda: "relay.unavailable" in bench.log(), "the sender says so")
    relay = bench.relay.host

    async def refusals() -> float | None:
        return await metric(bench, "mailtopic_smtp_replies_total", **{"class": "auth"})

    async def has_tried() -> bool:
        return (await refusals() or 0) > 0

    await until(has_tried, "a login was refused")
    # Each time that the file is written, there is one more try, and none without.
    for tries in (2, 3):
        password.write_text("right")

        async def has_tried_again(tries: int = tries) -> bool:
            return sum(line.startswith("AUTH") for _, line in bench.relay.commands) >= tries

        await until(has_tried_again, "it was tried again")
    assert sum(line.startswith("AUTH") for _, line in bench.relay.commands) == 3
    assert await metric(bench, "mailtopic_breaker_open", relay=relay) == 1
    assert await bench.events() == []
    assert await bench.is_ready()
    bench.relay.heal(refusal)
    password.write_text("right")

    await bench.delivered(everybody)
    events = await final_events(bench, len(everybody))
    assert Counter((event.outcome, event.attempt) for event in events) == {
        (Outcome.ACCEPTED, 1): len(everybody)
    }
    assert await bench.records(f"{bench.topic}.dlq") == []
    assert max(bench.deliveries().values()) == 1
    assert await metric(bench, "mailtopic_breaker_open", relay=relay) == 0
    assert bench.log().count("relay.unavailable") == 1
    assert bench.log().count("relay.available") == 1
    assert "right" not in bench.log()


async def test_without_a_token_mails_wait_and_readiness_says_why(
    bench: Bench, tmp_path: Path
) -> None:
    authority = Authority()
    ca_file = authority.write_pem(tmp_path / "oauth-ca.pem")
    async with OAuthServer(authority) as oauth:
        await oauth.stop()
        bench.settings |= {
            "MAILTOPIC_SMTP__USERNAME": USER,
            "MAILTOPIC_SMTP__OAUTH__TOKEN_URL": oauth.token_url,
            "MAILTOPIC_SMTP__OAUTH__CLIENT_ID": CLIENT_ID,
            "MAILTOPIC_SMTP__OAUTH__CLIENT_SECRET": CLIENT_SECRET,
            "MAILTOPIC_SMTP__OAUTH__CA_FILE": str(ca_file),
        }
        async with LoginServer("XOAUTH2") as relay:
            relay.is_right = lambda name, token: name == USER and oauth.is_good(token)
            bench.settings |= {
                "MAILTOPIC_SMTP__HOST": relay.host,
                "MAILTOPIC_SMTP__PORT": str(relay.port),
                "MAILTOPIC_SMTP__SECURITY": "None",
                "MAILTOPIC_LOG__LEVEL": "debug",
            }
            bench.start()
            await publish(bench, addresses(20))
            reason = f"relay {relay.host}: no token: the token endpoint can't be reached"

            async def says_why() -> bool:
                return reason in await bench.probe("readyz")

            await until(says_why, "readiness says why", timeout_s=60)
            assert relay.connections == 0
            await oauth.start()
            await until(lambda: relay.mails == 20, "the mails arrive", timeout_s=60)
            await until(bench.is_ready, "it is ready")
        assert bench.log().count("relay.unavailable") == 1
        for secret in (*oauth.tokens, CLIENT_SECRET):
            assert secret not in bench.log()
        assert len(oauth.asked) == 1


async def test_an_outcome_names_the_relay_that_took_the_mail(bench: Bench, tmp_path: Path) -> None:
    authority = Authority()
    authority.write_pem(tmp_path / "ca.pem")
    (tmp_path / "password").write_text("right\n")
    context = authority.server_context("127.0.0.1")
    async with SmtpRelay(tls=context) as first, SmtpRelay(tls=context) as second:
        second.users = {"sender": "right"}
        second.require_login = True
        login = {"username": "sender", "password_file": str(tmp_path / "password")}
        bench.settings |= several(
            entry(bench, first, "first"), entry(bench, second, "second", **login)
        )
        await bench.start_ready()
        await publish(bench, addresses(20, "one.example"))
        await final_events(bench, 20)
        first.fault(Fault("rcpt", reply="554 5.7.1 blocked by reputation", times=5))
        await publish(bench, addresses(20, "two.example"))
        await final_events(bench, 40)
        await first.stop()
        await publish(bench, addresses(20, "three.example"))
        events = await final_events(bench, 60)
        told = await metric(
            bench, "mailtopic_mails_total", relay="second", outcome="accepted", topic=bench.topic
        )
    assert Counter((event.relay, event.outcome, event.attempt) for event in events) == {
        ("first", Outcome.ACCEPTED, 1): 20 + 15,
        ("second", Outcome.ACCEPTED, 1): 5 + 20,
    }
    assert (len(first.mails), len(second.mails)) == (35, 25)
    assert told == 25
    assert {mail.login for mail in second.mails} == {"sender"}
    assert all(mail.encrypted for mail in first.mails + second.mails)


async def test_senders_share_a_rate_without_asking_each_other(bench: Bench) -> None:
    rate_per_s = 20.0
    bench.settings |= {"MAILTOPIC_SMTP__RATE_PER_S": str(rate_per_s)}
    everybody = addresses(150)
    await bench.start_ready("a")
    await publish(bench, everybody[:100])
    await until(lambda: len(bench.relay.mails) > 20, "a sends")
    await bench.start_ready("b")
    await publish(bench, everybody[100:])
    await until(lambda: len(bench.relay.mails) > 60, "both send")
    assert await bench.senders["a"].end(grace_s=40) == 0
    await bench.delivered(everybody, timeout_s=90)
    events = await final_events(bench, len(everybody))

    excess = largest_excess(bench.relay.mails, rate_per_s)
    print(f"1→2→1 senders at 20/s: {excess:.1f} mails above the rate at worst")  # noqa: T201
    # A burst of each sender, and what the machine delivered late.
    assert excess <= 2 + rate_per_s * 0.2 + 10
    assert {event.attempt for event in events} == {1}
    assert max(bench.deliveries().values()) == 1


async def test_what_only_a_person_can_mend_is_in_the_dlq(bench: Bench) -> None:
    bench.relay.fault(
        Fault("rcpt", reply="554 5.7.1 blocked by reputation", recipient="a@example.com")
    )
    bench.relay.fault(Fault("mail", reply="501 5.5.4 syntax", times=1))
    await bench.start_ready()
    await publish(bench, ["first@example.com"])
    await final_events(bench, 1)
    await publish(bench, ["a@example.com", "b@example.com"])
    events = await final_events(bench, 3)
    assert Counter((event.outcome, event.reply_class) for event in events) == {
        (Outcome.DEAD, "protocol"): 1,
        (Outcome.DEAD, "reputation"): 1,
        (Outcome.ACCEPTED, "accepted"): 1,
    }
    assert len(await bench.records(f"{bench.topic}.dlq")) == 2
