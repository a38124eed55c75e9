"""Suppression: who gets no mail after a bounce, for how long, and who can't tell."""

import asyncio
import json
import os
import sys
from pathlib import Path
from uuid import UUID

import pytest

from mailtopic_contract import Outcome, decode_status
from mailtopic_runtime import SystemClock
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_signup.__main__ import main
from mailtopic_signup.adapters.sql_suppressions import SqlSuppressions, Suppression
from mailtopic_signup.domain.challenge import DAY_MS
from mailtopic_signup.domain.suppression import RULES
from mailtopic_signup.domain.tokens import Caller, Tokens
from mailtopic_signup.ports import Delivered, LeasedMail
from support.signup_service import ServiceTokens, Signup

MAIL = {"topic": "receipts", "to": "anna@example.com", "variables": {"code": "481516"}}
HOUR_S, DAY_S = 3600, 86_400


async def tell(
    signup: Signup,
    mail_id: UUID,
    outcome: Outcome = Outcome.BOUNCED,
    reply_class: str | None = "hard_bounce",
    *,
    taken_back: bool = False,
) -> None:
    at = signup.clock.now_ms()
    news = Delivered(
        mail_id, outcome, at, reply_class=reply_class, smtp="550 5.1.1", taken_back=taken_back
    )
    await signup.parts.deliveries.record([news])


async def waiting(signup: Signup) -> list[LeasedMail]:
    leased = await signup.parts.outbox.lease(limit=100, now_ms=signup.clock.now_ms(), lease_ms=0)
    return list(leased)


async def forget_what_waits(signup: Signup) -> None:
    ids = [each.mail.id for each in await waiting(signup)]
    await signup.parts.outbox.mark_published(ids, now_ms=signup.clock.now_ms())


async def send(signup: Signup, tokens: ServiceTokens, to: str = "anna@example.com") -> UUID:
    answer = await signup.post(
        "/v1/mails", MAIL | {"to": to}, authorization=f"Bearer {tokens.billing}"
    )
    assert answer.status_code == 202
    return UUID(answer.json()["id"])


async def bounce_a_signup(signup: Signup, reply_class: str | None = "hard_bounce") -> None:
    await signup.begin()
    (mail,) = await waiting(signup)
    await forget_what_waits(signup)
    await tell(signup, mail.mail.id, reply_class=reply_class)


async def suppressions(signup: Signup) -> list[Suppression]:
    found = await SqlSuppressions(signup.parts.database).list(now_ms=signup.clock.now_ms())
    return list(found)


async def topics_that_wait(signup: Signup) -> list[str]:
    return [each.mail.topic for each in await waiting(signup)]


def test_the_rules_go_by_classes_that_a_sender_gives() -> None:
    assert set(RULES) <= {each.value for each in ReplyClass if each.bounces or each.retryable}


async def test_a_suppressed_recipient_gets_the_outcome_and_no_mail(
    signup: Signup, tokens: ServiceTokens
) -> None:
    await bounce_a_signup(signup)
    mail_id = await send(signup, tokens)
    (leased,) = await waiting(signup)
    assert leased.mail.topic == "receipts.status"
    event = decode_status(leased.mail.payload)
    assert (event.id, event.outcome, event.at) == (
        mail_id,
        Outcome.SUPPRESSED,
        signup.clock.now_ms(),
    )
    assert leased.mail.key == str(mail_id)
    assert b"anna" not in leased.mail.payload


async def test_a_person_who_signs_up_gets_the_same_answer_and_no_mail(signup: Signup) -> None:
    await bounce_a_signup(signup)
    signup.clock.advance(HOUR_S)
    suppressed = await signup.post("/v1/signups", {"email": "anna@example.com"})
    assert await topics_that_wait(signup) == ["mails.status"]
    other = await signup.post("/v1/signups", {"email": "berta@example.com"})
    assert suppressed.status_code == other.status_code == 202
    assert suppressed.json().keys() == other.json().keys()
    assert suppressed.headers.keys() == other.headers.keys()


async def test_a_person_gets_a_mail_a_day_later_and_a_service_does_not(
    signup: Signup, tokens: ServiceTokens
) -> None:
    await bounce_a_signup(signup)
    signup.clock.advance(DAY_S - 1)
    await signup.begin()
    assert await topics_that_wait(signup) == ["mails.status"]
    await forget_what_waits(signup)
    signup.clock.advance(61)
    await signup.begin()
    await send(signup, tokens)
    assert sorted(await topics_that_wait(signup)) == ["mails", "receipts.status"]


async def test_a_resend_to_a_suppressed_recipient_is_no_mail_either(signup: Signup) -> None:
    challenge = await signup.begin()
    (mail,) = await waiting(signup)
    await forget_what_waits(signup)
    await tell(signup, mail.mail.id)
    signup.clock.advance(61)
    assert (await signup.post(f"/v1/signups/{challenge}/resend")).status_code == 202
    assert await topics_that_wait(signup) == ["mails.status"]


@pytest.mark.parametrize(
    ("reply_class", "lasts_s"), [("hard_bounce", 30 * DAY_S), ("mailbox_full", HOUR_S)]
)
async def test_a_suppression_ends(
    signup: Signup, tokens: ServiceTokens, reply_class: str, lasts_s: int
) -> None:
    await tell(signup, await send(signup, tokens), reply_class=reply_class)
    await forget_what_waits(signup)
    signup.clock.advance(lasts_s - 1)
    await send(signup, tokens)
    assert await topics_that_wait(signup) == ["receipts.status"]
    await forget_what_waits(signup)
    signup.clock.advance(1)
    await send(signup, tokens)
    assert await topics_that_wait(signup) == ["receipts"]
    assert await suppressions(signup) == []


@pytest.mark.parametrize(
    ("outcome", "reply_class"),
    [
        (Outcome.BOUNCED, "content"),
        (Outcome.BOUNCED, "provider_suppressed"),
        (Outcome.BOUNCED, None),
        (Outcome.DEAD, "reputation"),
        (Outcome.DEAD, "hard_bounce"),
        (Outcome.EXPIRED, "greylisted"),
        (Outcome.DEFERRED, "mailbox_full"),
        (Outcome.UNKNOWN, "unknown"),
        (Outcome.SUPPRESSED, None),
    ],
)
async def test_what_the_recipient_is_not_to_blame_for_suppresses_nobody(
    signup: Signup, tokens: ServiceTokens, outcome: Outcome, reply_class: str | None
) -> None:
    await tell(signup, await send(signup, tokens), outcome, reply_class)
    assert await suppressions(signup) == []


async def test_a_bounce_of_nobodys_mail_is_passed_over(signup: Signup) -> None:
    await tell(signup, UUID(int=7))
    assert await suppressions(signup) == []


async def test_a_newer_bounce_counts_and_an_older_one_that_comes_late_does_not(
    signup: Signup, tokens: ServiceTokens
) -> None:
    first, second = await send(signup, tokens), await send(signup, tokens)
    signup.clock.advance(HOUR_S)
    newer_ms = signup.clock.now_ms()
    await tell(signup, second)
    signup.clock.advance(-HOUR_S)
    await tell(signup, first)
    (found,) = await suppressions(signup)
    assert found.bounced_at == newer_ms
    assert (found.bypass_after, found.until) == (newer_ms + DAY_MS, newer_ms + 30 * DAY_MS)


async def test_a_mail_that_was_taken_after_the_bounce_lifts_it(signup: Signup) -> None:
    await bounce_a_signup(signup)
    signup.clock.advance(DAY_S + 1)
    await signup.begin()
    (mail,) = await waiting(signup)
    assert len(await suppressions(signup)) == 1
    await tell(signup, mail.mail.id, Outcome.ACCEPTED, "accepted")
    assert await suppressions(signup) == []


async def test_a_mail_that_was_taken_before_the_bounce_lifts_nothing(
    signup: Signup, tokens: ServiceTokens
) -> None:
    first, second = await send(signup, tokens), await send(signup, tokens)
    signup.clock.advance(5)
    await tell(signup, second)
    signup.clock.advance(-5)
    await tell(signup, first, Outcome.ACCEPTED, "accepted")
    assert len(await suppressions(signup)) == 1


async def test_case_does_not_get_around_a_suppression(
    signup: Signup, tokens: ServiceTokens
) -> None:
    await bounce_a_signup(signup)
    await send(signup, tokens, "Anna@EXAMPLE.com")
    assert await topics_that_wait(signup) == ["receipts.status"]


async def test_what_is_over_is_purged(signup: Signup, tokens: ServiceTokens) -> None:
    await tell(signup, await send(signup, tokens))
    kept = SqlSuppressions(signup.parts.database)
    until_ms = signup.clock.now_ms() + 30 * DAY_MS
    assert await kept.purge(now_ms=until_ms - 1) == 0
    assert await kept.purge(now_ms=until_ms) == 1


async def command(signup: Signup, *arguments: str) -> tuple[int, str, str]:
    url = signup.settings.database.url
    assert url
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mailtopic_signup", *arguments),
        env=os.environ | {"MAILTOPIC_DATABASE__URL": url.get_secret_value()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_command_lists_redacted_addresses_and_lifts_by_the_whole_one(
    signup: Signup, tokens: ServiceTokens
) -> None:
    # The command lists what holds by the machine's clock.
    signup.clock.advance((SystemClock().now_ms() - signup.clock.now_ms()) / 1000)
    await tell(signup, await send(signup, tokens))
    code, out, _ = await command(signup, "suppressions", "list")
    assert code == 0
    assert "a***@example.com  hard_bounce (550 5.1.1)  until " in out
    assert "anna" not in out
    _, as_json, _ = await command(signup, "suppressions", "list", "--json")
    assert json.loads(as_json)["recipient"] == "a***@example.com"

    lifted = await command(signup, "suppressions", "lift", "ANNA@example.com")
    assert lifted[:2] == (0, "A***@example.com gets mails again\n")
    assert (await command(signup, "suppressions", "list"))[1] == ""
    again = await command(signup, "suppressions", "lift", "anna@example.com")
    assert (again[0], again[2]) == (1, "mailtopic-signup: a***@example.com is not suppressed\n")
    assert (await command(signup, "suppressions", "lift", "nonsense"))[0] == 2


@pytest.mark.parametrize(
    "arguments", ["", "migrate", "token", "suppressions", "suppressions list", "suppressions lift"]
)
def test_every_command_explains_itself(
    arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mailtopic-signup", *arguments.split(), "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert f"usage: mailtopic-signup {arguments}".rstrip() in capsys.readouterr().out


async def test_the_token_command_makes_an_entry_that_lets_its_token_in(
    signup: Signup, tmp_path: Path
) -> None:
    code, out, _ = await command(signup, "token", "billing-3", "receipts", "reminders")
    assert code == 0
    made = json.loads(out)
    path = tmp_path / "made.json"
    path.write_text(json.dumps({"tokens": [made["entry"]]}))
    caller = Tokens.load(path).find(made["token"])
    assert caller == Caller("billing-3", frozenset({"receipts", "reminders"}))
    assert made["token"] not in path.read_text()


async def test_a_token_for_what_is_no_topic_is_refused_in_one_line(signup: Signup) -> None:
    code, out, err = await command(signup, "token", "billing-3", "no topic")
    assert (code, out, err.count("\n")) == (2, "", 1)


async def test_a_bounce_that_is_taken_back_neither_suppresses_nor_shows(signup: Signup) -> None:
    challenge = await signup.begin()
    (mail,) = await waiting(signup)
    await forget_what_waits(signup)
    await tell(signup, mail.mail.id)
    assert (await signup.status(challenge))["delivery"] == "bounced"
    signup.clock.advance(1)
    await tell(signup, mail.mail.id, Outcome.DEFERRED, "sender", taken_back=True)
    assert (await signup.status(challenge))["delivery"] == "deferred"
    assert await suppressions(signup) == []
    await tell(signup, mail.mail.id, Outcome.ACCEPTED, "accepted")
    assert (await signup.status(challenge))["delivery"] == "sent"


async def test_taking_back_is_done_once_and_not_for_what_came_later(signup: Signup) -> None:
    challenge = await signup.begin()
    (mail,) = await waiting(signup)
    at = signup.clock.now_ms()

    def news(outcome: Outcome, after_ms: int, *, taken_back: bool = False) -> Delivered:
        return Delivered(
            mail.mail.id, outcome, at + after_ms, "hard_bounce", "550", taken_back=taken_back
        )

    correction = news(Outcome.DEFERRED, 2, taken_back=True)
    batch = [news(Outcome.BOUNCED, 1), correction, news(Outcome.BOUNCED, 3)]
    await signup.parts.deliveries.record(batch)
    assert (await signup.status(challenge))["delivery"] == "bounced"
    assert len(await suppressions(signup)) == 1
    await signup.parts.deliveries.record([correction])
    assert (await signup.status(challenge))["delivery"] == "bounced"
    assert len(await suppressions(signup)) == 1


async def test_the_service_that_sent_it_sees_a_correction_too(
    signup: Signup, tokens: ServiceTokens
) -> None:
    mail_id = await send(signup, tokens)
    await forget_what_waits(signup)
    await tell(signup, mail_id)
    await tell(signup, mail_id, Outcome.DEFERRED, "sender", taken_back=True)
    assert await suppressions(signup) == []
    await send(signup, tokens)
    assert await topics_that_wait(signup) == ["receipts"]
