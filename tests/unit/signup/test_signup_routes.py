"""What the routes answer when all is well."""

import re
from datetime import datetime

import pytest

from mailtopic_contract import Outcome
from mailtopic_signup.domain.challenge import delivery_of
from mailtopic_signup.ports import Delivered
from support.signup_service import Signup

MINUTE_S = 60


async def test_a_signup_is_accepted_with_the_times_that_matter(signup: Signup) -> None:
    answer = await signup.post("/v1/signups", {"email": "anna@example.com"})
    assert answer.status_code == 202
    body = answer.json()
    assert set(body) == {"challenge_id", "expires_at", "resend_after"}
    assert re.fullmatch("[0-9a-f]{32}", body["challenge_id"])
    now_s = signup.clock.now_ms() / 1000
    assert body["expires_at"].endswith("Z")
    assert datetime.fromisoformat(body["expires_at"]).timestamp() == now_s + 600
    assert datetime.fromisoformat(body["resend_after"]).timestamp() == now_s + 60


async def test_the_mail_is_sealed_in_the_outbox_and_no_code_is_stored(
    signup: Signup,
) -> None:
    await signup.begin()
    (mail,) = await signup.mails()
    code = await signup.code()
    assert mail.email == "anna@example.com"
    assert (mail.purpose, mail.locale, mail.variables) == ("signup", "ru", None)
    assert re.fullmatch("[0-9]{6}", code)
    stored = await signup.stored()
    assert "anna@example.com" in stored
    assert code not in re.findall("[0-9]+", stored)


async def test_the_right_code_verifies_once(signup: Signup) -> None:
    challenge = await signup.begin()
    code = await signup.code()
    verified = await signup.verify(challenge, code)
    assert verified.status_code == 200
    assert verified.json()["state"] == "verified"
    assert (await signup.status(challenge))["state"] == "verified"
    again = await signup.verify(challenge, code)
    assert again.status_code == 409


async def test_the_same_address_stays_the_same_user(signup: Signup) -> None:
    codes = {}
    for domain in ("Example.com", "example.COM"):
        challenge = await signup.begin(f"anna@{domain}")
        codes[challenge] = await signup.code()
        signup.clock.advance(2 * MINUTE_S)
    answers = [await signup.verify(challenge, code) for challenge, code in codes.items()]
    users = [answer.json()["user_id"] for answer in answers]
    assert users[0] == users[1]


async def test_a_challenge_waits_expires_and_is_locked(signup: Signup) -> None:
    challenge = await signup.begin()
    status = await signup.status(challenge)
    assert (status["state"], status["delivery"]) == ("pending", "queued")
    assert status["challenge_id"] == challenge
    wrong = await signup.wrong_code()
    for _ in range(5):
        await signup.verify(challenge, wrong)
    assert (await signup.status(challenge))["state"] == "locked"
    signup.clock.advance(601)
    assert (await signup.status(challenge))["state"] == "expired"


async def test_a_resend_mails_the_code_again_after_the_cooldown(signup: Signup) -> None:
    challenge = await signup.begin()
    first = await signup.code()
    early = await signup.post(f"/v1/signups/{challenge}/resend")
    assert early.status_code == 429
    assert early.headers["retry-after"] == "60"
    signup.clock.advance(60)
    answer = await signup.post(f"/v1/signups/{challenge}/resend")
    assert answer.status_code == 202
    assert answer.json()["challenge_id"] == challenge
    assert len(await signup.mails()) == 2
    assert await signup.code() == first
    signup.clock.advance(599)
    assert (await signup.verify(challenge, first)).status_code == 200


async def test_a_resend_revives_an_expired_challenge_for_a_day(signup: Signup) -> None:
    challenge = await signup.begin()
    signup.clock.advance(3600)
    assert (await signup.post(f"/v1/signups/{challenge}/resend")).status_code == 202
    assert (await signup.status(challenge))["state"] == "pending"
    signup.clock.advance(23 * 3600)
    assert (await signup.post(f"/v1/signups/{challenge}/resend")).status_code == 410


async def test_a_cooling_address_gets_the_same_answer_and_no_second_mail(
    signup: Signup,
) -> None:
    first = await signup.post("/v1/signups", {"email": "anna@example.com"})
    second = await signup.post("/v1/signups", {"email": "anna@Example.com"})
    assert second.status_code == 202
    assert set(first.json()) == set(second.json())
    assert first.json()["challenge_id"] != second.json()["challenge_id"]
    assert len(await signup.mails()) == 1


async def test_who_lost_the_first_answer_confirms_with_the_code_of_its_mail(
    signup: Signup,
) -> None:
    lost, challenge = await signup.begin(), await signup.begin()
    code = await signup.code()
    assert (await signup.verify(challenge, code)).status_code == 200
    assert (await signup.verify(lost, code)).status_code == 422


async def test_a_code_that_was_used_serves_no_later_challenge(signup: Signup) -> None:
    challenge = await signup.begin()
    code = await signup.code()
    assert (await signup.verify(challenge, code)).status_code == 200
    assert (await signup.verify(await signup.begin(), code)).status_code == 422


async def test_an_address_in_another_case_is_the_same_mailbox(signup: Signup) -> None:
    await signup.begin()
    code = await signup.code()
    other = await signup.post("/v1/signups", {"email": "ANNA@example.com"})
    assert len(await signup.mails()) == 1
    assert (await signup.verify(other.json()["challenge_id"], code)).status_code == 200


@pytest.mark.parametrize(
    ("asked", "header", "locale"),
    [
        ("en", "ru", "en"),
        ("de-AT", None, "de-AT"),
        (None, "en-GB,en;q=0.9,ru;q=0.8", "en"),
        (None, "de, ru;q=0.5, en;q=0.7", "en"),
        (None, "fr, *;q=0.1", "ru"),
        (None, ";;;q=x,,", "ru"),
        (None, None, "ru"),
    ],
)
async def test_the_locale_is_the_asked_one_or_the_browsers(
    signup: Signup, asked: str | None, header: str | None, locale: str
) -> None:
    headers = {"accept_language": header} if header else {"accept_language": ""}
    body = {"email": "anna@example.com", "locale": asked}
    assert (await signup.post("/v1/signups", body, **headers)).status_code == 202
    assert (await signup.mails())[0].locale == locale


async def test_an_idempotency_key_repeats_the_answer_for_a_day(signup: Signup) -> None:
    body = {"email": "anna@example.com"}
    first = await signup.post("/v1/signups", body, idempotency_key="k-1")
    signup.clock.advance(120)
    second = await signup.post("/v1/signups", body, idempotency_key="k-1")
    assert (second.status_code, second.content) == (202, first.content)
    assert len(await signup.mails()) == 1
    other = await signup.post("/v1/signups", {"email": "b@example.com"}, idempotency_key="k-1")
    assert other.status_code == 422
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"
    signup.clock.advance(24 * 3600)
    later = await signup.post("/v1/signups", body, idempotency_key="k-1")
    assert later.json()["challenge_id"] != first.json()["challenge_id"]


@pytest.mark.parametrize("outcome", Outcome)
async def test_delivery_shows_what_became_of_the_mail(signup: Signup, outcome: Outcome) -> None:
    challenge = await signup.begin()
    (mail,) = await signup.mails()
    await signup.parts.deliveries.record([Delivered(mail.id, outcome, signup.clock.now_ms())])
    assert (await signup.status(challenge))["delivery"] == delivery_of(outcome)


async def test_a_final_delivery_is_not_replaced_by_late_news(signup: Signup) -> None:
    challenge = await signup.begin()
    (mail,) = await signup.mails()
    for outcome in (Outcome.ACCEPTED, Outcome.DEFERRED):
        await signup.parts.deliveries.record([Delivered(mail.id, outcome, 1)])
    assert (await signup.status(challenge))["delivery"] == "sent"


async def test_probes_and_metrics_answer(signup: Signup) -> None:
    await signup.begin()
    signup.clock.advance(5)
    assert (await signup.client.get("/livez")).json()["status"] == "ok"
    assert (await signup.client.get("/readyz")).status_code == 200
    metrics = (await signup.client.get("/metrics")).text
    assert 'mailtopic_signups_total{result="accepted"} 1.0' in metrics
    assert "mailtopic_outbox_pending 1.0" in metrics
    assert "mailtopic_outbox_oldest_seconds 5.0" in metrics
    assert 'route="/v1/signups",status="202"' in metrics
    assert "anna" not in metrics


async def test_the_openapi_names_every_answer(signup: Signup) -> None:
    document = (await signup.client.get("/openapi.json")).json()
    paths = document["paths"]
    assert {"202", "400", "408", "409", "413", "415", "422", "429", "503"} == set(
        paths["/v1/signups"]["post"]["responses"]
    )
    verify = paths["/v1/signups/{challenge_id}/verify"]["post"]["responses"]
    assert {"200", "404", "409", "410", "422", "429"} < set(verify)
    assert "application/problem+json" in verify["422"]["content"]
    assert "422" not in paths["/v1/signups/{challenge_id}"]["get"]["responses"]
    schemas = document["components"]["schemas"]
    assert "Problem" in schemas
    assert "HTTPValidationError" not in str(document)
    referenced = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert referenced <= set(schemas)


async def test_the_page_is_served_where_it_is_there(signup: Signup) -> None:
    page = await signup.client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    script = await signup.client.get("/static/signup.js")
    assert script.status_code == 200
