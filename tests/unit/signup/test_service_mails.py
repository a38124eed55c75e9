"""Mails of other services: who may send which, what is stored, and what they are told."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, select

from mailtopic_client import MemoryBroker, RecordMetadata, RecordRefused
from mailtopic_contract import MailSeal, Outcome, open_variables
from mailtopic_runtime import SettingError
from mailtopic_signup.adapters.sql_tables import metadata
from mailtopic_signup.bootstrap import topics_of
from mailtopic_signup.domain.code import Peppers
from mailtopic_signup.domain.tokens import new_token
from mailtopic_signup.metrics import SignupMetrics
from mailtopic_signup.ports import Delivered
from mailtopic_signup.publisher import Publisher
from mailtopic_signup.publishers import Publishers
from support.conditions import until
from support.signup_service import ServiceTokens, Signup

RECEIPT = {
    "topic": "receipts",
    "to": "anna@example.com",
    "locale": "en",
    "purpose": "receipt",
    "variables": {"code": "481516"},
    "expires_in": 900,
}


async def send(
    signup: Signup, token: str, changes: Mapping[str, Any] | None = None
) -> httpx.Response:
    return await signup.post(
        "/v1/mails", RECEIPT | dict(changes or {}), authorization=f"Bearer {token}"
    )


async def look(signup: Signup, token: str, mail_id: object) -> httpx.Response:
    return await signup.client.get(
        f"/v1/mails/{mail_id}", headers={"authorization": f"Bearer {token}"}
    )


def check_problem(answer: httpx.Response, status: int, field: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in [each["field"] for each in answer.json()["errors"]]


async def everything_stored(signup: Signup) -> str:
    def dump(connection: Connection) -> str:
        return str([connection.execute(select(table)).all() for table in metadata.sorted_tables])

    return await signup.parts.database.read(dump)


async def test_a_mail_is_stored_sealed_under_its_id_and_topic(
    signup: Signup, tokens: ServiceTokens
) -> None:
    answer = await send(signup, tokens.billing)
    assert answer.status_code == 202
    (mail,) = await signup.mails()
    now_ms = signup.clock.now_ms()
    assert str(mail.id) == answer.json()["id"]
    assert (mail.email, mail.purpose, mail.locale) == ("anna@example.com", "receipt", "en")
    assert (mail.accepted_at, mail.expires_at) == (now_ms, now_ms + 900_000)
    assert mail.variables is None
    assert open_variables(mail, MailSeal(signup.keyring, "receipts")) == {"code": "481516"}
    assert await signup.parts.outbox.topics() == ["receipts"]


async def test_what_need_not_be_said_has_defaults(signup: Signup, tokens: ServiceTokens) -> None:
    least = {"topic": "receipts", "to": "anna@example.com"}
    answer = await signup.post("/v1/mails", least, authorization=f"Bearer {tokens.billing}")
    assert answer.status_code == 202
    (mail,) = await signup.mails()
    assert (mail.purpose, mail.locale) == ("unspecified", "ru")
    assert mail.expires_at - mail.accepted_at == 3_600_000


async def test_a_whole_number_may_be_written_with_a_point(
    signup: Signup, tokens: ServiceTokens
) -> None:
    assert (await send(signup, tokens.billing, {"expires_in": 900.0})).status_code == 202
    (mail,) = await signup.mails()
    assert mail.expires_at - mail.accepted_at == 900_000


async def test_every_token_of_a_rotation_works_and_sees_the_same_mails(
    signup: Signup, tokens: ServiceTokens
) -> None:
    old = await send(signup, tokens.billing)
    new = await send(signup, tokens.billing_new)
    for token in (tokens.billing, tokens.billing_new):
        for answer in (old, new):
            assert (await look(signup, token, answer.json()["id"])).status_code == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
async def test_the_scheme_may_be_written_in_any_case(
    signup: Signup, tokens: ServiceTokens, scheme: str
) -> None:
    answer = await signup.post("/v1/mails", RECEIPT, authorization=f"{scheme} {tokens.billing}")
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("authorization", "says"),
    [
        (None, 'Bearer realm="mailtopic"'),
        ("", 'Bearer realm="mailtopic"'),
        ("Basic YTpi", 'Bearer realm="mailtopic"'),
        ("Bearer", 'Bearer realm="mailtopic", error="invalid_token"'),
        ("Bearer x", 'Bearer realm="mailtopic", error="invalid_token"'),
    ],
)
async def test_without_a_valid_token_nothing_is_looked_at(
    signup: Signup, authorization: str | None, says: str
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    for answer in (
        await signup.client.post("/v1/mails", content=b"{", headers=headers),
        await signup.client.post("/v1/mails", json=RECEIPT, headers=headers),
        await signup.client.get(f"/v1/mails/{UUID(int=1)}", headers=headers),
    ):
        check_problem(answer, 401, "Authorization")
        assert answer.headers["www-authenticate"] == says
    assert await signup.mails() == []


@pytest.mark.parametrize("topic", ["orders", "mails", "nonesuch", "receipts.dlq", ""])
async def test_a_topic_that_the_token_is_not_for_is_refused_whether_there_is_one_or_not(
    signup: Signup, tokens: ServiceTokens, topic: str
) -> None:
    answer = await send(signup, tokens.billing, {"topic": topic})
    check_problem(answer, 403, "topic")
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert await signup.mails() == []


async def test_a_mail_of_another_service_is_as_unknown_as_one_that_never_was(
    signup: Signup, tokens: ServiceTokens
) -> None:
    mail_id = (await send(signup, tokens.billing)).json()["id"]
    answers = [
        await look(signup, tokens.shop, wanted)
        for wanted in (mail_id, UUID(int=1), "x", mail_id.upper(), "%00")
    ]
    for answer in answers:
        check_problem(answer, 404, "mail_id")
    assert len({re.sub(r"request:\w+", "", answer.text) for answer in answers}) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"topic": None}, "topic"),
        ({"to": 7}, "to"),
        ({"to": "anna"}, "to"),
        ({"to": "anna@example.com\r\nBcc: x@example.com"}, "to"),
        ({"to": "anna@localhost"}, "to"),
        ({"locale": 1}, "locale"),
        ({"purpose": "With Spaces"}, "purpose"),
        ({"variables": ["code"]}, "variables"),
        ({"variables": {"Code": "1"}}, "variables"),
        ({"variables": {"code": 1}}, "variables"),
        ({"variables": {"code": "\ud800"}}, "variables"),
        ({"expires_in": 59}, "expires_in"),
        ({"expires_in": 86_401}, "expires_in"),
        ({"expires_in": "600"}, "expires_in"),
        ({"expires_in": 600.5}, "expires_in"),
        ({"expires_in": True}, "expires_in"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "k" * 256}, "idempotency_key"),
    ],
)
async def test_a_wrong_field_is_named_and_not_echoed(
    signup: Signup, tokens: ServiceTokens, changes: dict[str, Any], field: str
) -> None:
    body = json.dumps(RECEIPT | changes)  # \\ud800 is valid JSON
    headers = {"authorization": f"Bearer {tokens.billing}", "content-type": "application/json"}
    answer = await signup.client.post("/v1/mails", content=body, headers=headers)
    check_problem(answer, 422, field)
    assert "481516" not in answer.text
    assert "anna" not in answer.text
    assert await signup.mails() == []


async def test_the_same_key_with_the_same_mail_gets_the_same_answer_once_stored(
    signup: Signup, tokens: ServiceTokens
) -> None:
    key = {"idempotency_key": "order-17"}
    first = await send(signup, tokens.billing, key)
    signup.clock.advance(60)
    again = await send(signup, tokens.billing_new, key)
    assert (again.status_code, again.content) == (202, first.content)
    assert len(await signup.mails()) == 1
    for changes in ({"to": "b@example.com"}, {"variables": {"code": "481517"}}):
        check_problem(await send(signup, tokens.billing, key | changes), 422, "idempotency_key")
    elsewhere = await send(signup, tokens.billing, key | {"topic": "reminders"})
    assert elsewhere.json()["id"] != first.json()["id"]
    signup.clock.advance(24 * 3600)
    later = await send(signup, tokens.billing, key)
    assert later.json()["id"] != first.json()["id"]


async def test_the_database_holds_neither_code_nor_key_nor_token(
    signup: Signup, tokens: ServiceTokens
) -> None:
    await send(signup, tokens.billing, {"idempotency_key": "order-17"})
    stored = await everything_stored(signup)
    assert "billing-1" in stored
    for secret in ("481516", "order-17", tokens.billing):
        assert secret not in stored


def test_a_tag_is_recognised_by_any_pepper_and_guessed_without_one_by_nobody() -> None:
    old, new = bytes(range(32)), bytes(range(1, 33))
    before = Peppers(active="p1", keys={"p1": old})
    after = Peppers(active="p2", keys={"p1": old, "p2": new})
    assert before.tags("481516")[0] in after.tags("481516")
    assert after.tags("481516")[0] not in before.tags("481516")
    assert not set(after.tags("481516")) & set(after.tags("481517"))


@pytest.mark.parametrize("outcome", Outcome)
async def test_the_status_shows_what_became_of_the_mail(
    signup: Signup, tokens: ServiceTokens, outcome: Outcome
) -> None:
    sent = (await send(signup, tokens.billing)).json()
    before = (await look(signup, tokens.billing, sent["id"])).json()
    assert before["state"] == "queued"
    assert before["expires_at"] == sent["expires_at"]
    assert "smtp" not in before
    signup.clock.advance(3)
    news = Delivered(UUID(sent["id"]), outcome, signup.clock.now_ms(), smtp="550 5.1.1")
    await signup.parts.deliveries.record([news])
    found = (await look(signup, tokens.billing, sent["id"])).json()
    assert (found["state"], found["smtp"]) == (outcome.value, "550 5.1.1")
    assert found["state_at"] > before["state_at"]


async def test_a_final_outcome_is_not_replaced_by_late_news(
    signup: Signup, tokens: ServiceTokens
) -> None:
    mail_id = (await send(signup, tokens.billing)).json()["id"]
    outcomes = (Outcome.DEFERRED, Outcome.BOUNCED, Outcome.DEFERRED)
    await signup.parts.deliveries.record(
        [Delivered(UUID(mail_id), outcome, at) for at, outcome in enumerate(outcomes)]
    )
    assert (await look(signup, tokens.billing, mail_id)).json()["state"] == "bounced"


class WithoutTopic(MemoryBroker):
    """A broker that has no topic called receipts."""

    async def publish(self, topic: str, **record: Any) -> RecordMetadata:
        if topic == "receipts":
            raise RecordRefused("unknown-topic", "the topic does not exist")
        return await super().publish(topic, **record)


@asynccontextmanager
async def publishing(signup: Signup, broker: MemoryBroker) -> AsyncIterator[Publishers]:
    """Publish what waits, knowing of the service's own topic only."""
    outbox = signup.parts.outbox

    def make(topic: str) -> Publisher:
        return Publisher(
            outbox,
            broker,
            batch_size=3,
            lease_s=15,
            poll_s=0.02,
            clock=signup.clock,
            metrics=SignupMetrics(CollectorRegistry()),
            topic=topic,
        )

    publishers = Publishers(make, outbox, topics=["mails"], poll_s=0.02)
    task = asyncio.create_task(publishers.run())
    try:
        yield publishers
    finally:
        publishers.stop()
        await task


async def test_a_topic_that_is_missing_holds_up_no_other_topics_mails(
    signup: Signup, tokens: ServiceTokens
) -> None:
    for _ in range(5):
        await send(signup, tokens.billing)
    await signup.begin()
    await send(signup, tokens.billing, {"topic": "reminders"})
    broker = WithoutTopic()
    async with publishing(signup, broker) as publishers:
        await until(lambda: len(broker.records) == 2, "the others are published")
        await until(lambda: publishers.problem, "the missing topic is told of")
        assert publishers.problem == "receipts: the topic does not exist"
        await signup.begin("later@example.com")
        await until(lambda: len(broker.stored("mails")) == 2, "later ones are published as well")
    assert await signup.parts.outbox.topics() == ["receipts"]


async def test_mails_are_published_also_when_no_token_is_for_their_topic_any_more(
    signup: Signup, tokens: ServiceTokens
) -> None:
    for topic in ("reminders", "receipts", "reminders"):
        await send(signup, tokens.billing, {"topic": topic})
    assert await signup.parts.outbox.topics() == ["receipts", "reminders"]
    async with publishing(signup, signup.broker):
        await until(lambda: len(signup.broker.records) == 3, "all are published")

        async def is_empty() -> bool:
            return not await signup.parts.outbox.topics()

        await until(is_empty, "the outbox is empty")
    assert len(signup.broker.stored("reminders")) == 2


async def test_the_openapi_names_the_token_and_every_refusal(signup: Signup) -> None:
    document = (await signup.client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["ServiceToken"]["scheme"] == "bearer"
    send_operation = document["paths"]["/v1/mails"]["post"]
    assert send_operation["security"] == [{"ServiceToken": []}]
    assert {"202", "400", "401", "403", "408", "413", "415", "422", "503"} == set(
        send_operation["responses"]
    )
    look_operation = document["paths"]["/v1/mails/{mail_id}"]["get"]
    assert {"200", "401", "404", "503"} == set(look_operation["responses"])


async def test_a_token_is_taken_away_and_another_comes_without_a_restart(
    signup: Signup, tokens: ServiceTokens
) -> None:
    token, entry = new_token("audit-1", ["audits"])
    path = signup.settings.mails.tokens_file
    assert path
    path.write_text(json.dumps({"tokens": [entry.as_json()]}))
    signup.parts.keys.reload()
    check_problem(await send(signup, tokens.billing), 401, "Authorization")
    assert (await send(signup, token, {"topic": "audits"})).status_code == 202
    assert topics_of(signup.settings, signup.parts.keys) == ("mails", "audits")


async def test_a_tokens_file_that_can_not_be_used_changes_nothing(
    signup: Signup, tokens: ServiceTokens
) -> None:
    path = signup.settings.mails.tokens_file
    assert path
    path.write_text("{")
    with pytest.raises(SettingError, match="MAILTOPIC_MAILS__TOKENS_FILE"):
        signup.parts.keys.reload()
    assert (await send(signup, tokens.billing)).status_code == 202


async def test_housekeeping_forgets_mails_a_while_after_their_time(
    signup: Signup, tokens: ServiceTokens
) -> None:
    sent = (await send(signup, tokens.billing)).json()
    signup.clock.advance(900 + signup.settings.mails.retention_s)
    await signup.parts.house.purge()
    assert (await look(signup, tokens.billing, sent["id"])).status_code == 200
    signup.clock.advance(1)
    await signup.parts.house.purge()
    assert (await look(signup, tokens.billing, sent["id"])).status_code == 404


async def test_mails_are_forgotten_when_their_time_is_over(
    signup: Signup, tokens: ServiceTokens
) -> None:
    sent = (await send(signup, tokens.billing)).json()
    expires_at = signup.clock.now_ms() + 900_000
    assert await signup.parts.mails.purge(expired_before_ms=expires_at) == 0
    assert await signup.parts.mails.purge(expired_before_ms=expires_at + 1) == 1
    assert (await look(signup, tokens.billing, sent["id"])).status_code == 404
