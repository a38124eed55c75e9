"""Nobody learns from the API whether an address is known; its owner learns it by mail."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event

from mailtopic_contract import Outcome, open_variables
from mailtopic_signup.ports import Delivered
from support.signup_service import Signup, make_known

KNOWN, NEW = "known@example.com", "fresh@example.com"
COOLING, LOCKED = "cooling@example.com", "locked@example.com"
SUPPRESSED = "suppressed@example.com"
EVERYBODY = (NEW, KNOWN, COOLING, LOCKED, SUPPRESSED)


@contextmanager
def statements() -> Iterator[list[str]]:
    """All SQL that runs, as it is sent; values are not in it."""
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        # Only SQLite sends one by itself; what a transaction begins with isn't of interest here.
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    def note_commit(_c: Any) -> None:
        seen.append("COMMIT")

    event.listen(Engine, "before_cursor_execute", note)
    event.listen(Engine, "commit", note_commit)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        event.remove(Engine, "commit", note_commit)


async def prepare(signup: Signup) -> None:
    """Bring each address of interest into its state."""
    await make_known(signup, KNOWN)
    for _ in range(2):
        challenge = await signup.begin(LOCKED)
        wrong = await signup.wrong_code()
        for _ in range(5):
            assert (await signup.verify(challenge, wrong)).status_code == 422
        signup.clock.advance(60)
    await signup.begin(SUPPRESSED)
    mail = (await signup.mails())[-1]
    now_ms = signup.clock.now_ms()
    bounced = Delivered(mail.id, Outcome.BOUNCED, now_ms, reply_class="hard_bounce")
    await signup.parts.deliveries.record([bounced])
    signup.clock.advance(60)
    await signup.begin(COOLING)


def shape(answer: httpx.Response) -> tuple[object, ...]:
    """Everything of an answer that isn't random."""
    body = answer.json()
    challenge_id = body.pop("challenge_id")
    headers = {name: len(value) for name, value in answer.headers.items()}
    return answer.status_code, len(challenge_id), body, headers, len(answer.content)


async def test_all_kinds_of_addresses_get_the_same_answer(signup: Signup) -> None:
    await prepare(signup)
    shapes = [shape(await signup.post("/v1/signups", {"email": address})) for address in EVERYBODY]
    assert shapes[0][0] == 202
    assert shapes == [shapes[0]] * 5


async def test_all_kinds_of_addresses_take_the_same_statements(signup: Signup) -> None:
    await prepare(signup)
    runs = []
    for address in EVERYBODY:
        with statements() as seen:
            await signup.begin(address)
        runs.append(seen)
    assert len(runs[0]) == 9
    assert runs == [runs[0]] * 5
    assert Counter(runs[0])["COMMIT"] == 1


async def test_challenges_of_new_and_known_addresses_answer_the_same_all_along(
    signup: Signup,
) -> None:
    await make_known(signup, KNOWN)
    seen = []
    for address in (NEW, KNOWN):
        challenge = await signup.begin(address)
        path = f"/v1/signups/{challenge}"
        answers = [await signup.client.get(path)]
        answers += [await signup.verify(challenge, "000000") for _ in range(2)]
        answers.append(await signup.post(f"{path}/resend"))
        signup.clock.advance(60)
        with statements() as sql:
            answers.append(await signup.post(f"{path}/resend"))
        answers += [await signup.verify(challenge, "000000") for _ in range(4)]
        signup.clock.advance(60)
        answers.append(await signup.post(f"{path}/resend"))
        signup.clock.advance(-120)
        words = [answer.text.replace(challenge, "") for answer in answers]
        ids = {answer.headers["x-request-id"] for answer in answers}
        for each in ids:
            words = [text.replace(each, "") for text in words]
        seen.append(([answer.status_code for answer in answers], words, sql))
    assert seen[0] == seen[1]


async def test_a_known_address_is_told_so_by_mail_and_gets_no_code(signup: Signup) -> None:
    user_id = await make_known(signup, KNOWN)
    challenge = await signup.begin(KNOWN)
    mail = (await signup.mails())[-1]
    assert (mail.email, mail.purpose) == (KNOWN, "account-exists")
    assert dict(open_variables(mail, signup.seal)) == {}
    assert mail.sealed is not None
    signup.clock.advance(60)
    assert (await signup.post(f"/v1/signups/{challenge}/resend")).status_code == 202
    assert [m.purpose for m in await signup.mails()][-2:] == ["account-exists"] * 2
    metrics = (await signup.client.get("/metrics")).text
    assert 'mailtopic_signups_total{result="known"} 1.0' in metrics
    assert user_id not in metrics


async def test_a_code_that_was_on_its_way_when_the_address_became_known_still_works(
    signup: Signup,
) -> None:
    first = await signup.begin(KNOWN)
    first_code = await signup.code()
    signup.clock.advance(60)
    second = await signup.begin(KNOWN)
    second_code = await signup.code()
    one = await signup.verify(first, first_code)
    two = await signup.verify(second, second_code)
    assert one.json() == two.json()


async def test_the_delivery_of_a_cooling_challenge_does_not_tell_that_the_code_was_used(
    signup: Signup,
) -> None:
    await signup.begin(KNOWN)
    used = await signup.begin(KNOWN)
    assert (await signup.verify(used, await signup.code())).status_code == 200
    await signup.begin(NEW)
    after = [await signup.status(await signup.begin(address)) for address in (KNOWN, NEW)]
    assert [each["delivery"] for each in after] == ["queued", "queued"]
    await signup.delivered()
    after = [await signup.status(await signup.begin(address)) for address in (KNOWN, NEW)]
    assert [each["delivery"] for each in after] == ["sent", "sent"]


@pytest.mark.parametrize("seconds", [0, 599])
async def test_a_cooling_challenge_takes_a_code_for_as_long_as_the_code_is_valid(
    signup: Signup, seconds: int
) -> None:
    await use_up_mails(signup)
    code = await signup.code()
    signup.clock.advance(seconds)
    assert (await signup.verify(await signup.begin(), code)).status_code == 200


async def test_a_cooling_challenge_makes_no_code_live_longer(signup: Signup) -> None:
    await signup.begin()
    code = await signup.code()
    signup.clock.advance(59)
    last = await signup.begin()
    signup.clock.advance(541)
    assert (await signup.verify(last, code)).status_code == 422


async def test_the_last_mail_of_an_hour_has_a_code_until_the_next_may_have_been_read(
    signup: Signup,
) -> None:
    await use_up_mails(signup)
    code = await signup.code()
    signup.clock.advance(3600 + 599)
    # Somebody else's signup takes the next mail; the one that was read still counts.
    assert (await signup.verify(await signup.begin(), code)).status_code == 200


async def use_up_mails(signup: Signup) -> None:
    for _ in range(4):
        await signup.begin()
        signup.clock.advance(60)
    await signup.begin()
