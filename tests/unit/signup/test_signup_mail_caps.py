"""How many mails an address gets, whoever asks for them."""

from datetime import datetime

import pytest

from support.signup_service import Signup, make_known

HOUR_S, DAY_S = 3600, 86_400
ADDRESS = "anna@example.com"


async def mails_to(signup: Signup, address: str) -> list[int]:
    """When mails to an address were accepted, in seconds."""
    return [m.accepted_at // 1000 for m in await signup.mails() if m.email.lower() == address]


async def flood(signup: Signup, *, seconds: int, every_s: int) -> None:
    """Ask for mails in every way there is."""
    challenges: list[str] = []
    for turn in range(seconds // every_s):
        address = ADDRESS if turn % 2 else ADDRESS.upper().replace("EXAMPLE.COM", "example.com")
        challenges.append(await signup.begin(address))
        for challenge in challenges[-3:]:
            answer = await signup.post(f"/v1/signups/{challenge}/resend")
            assert answer.status_code in {202, 429}
        signup.clock.advance(every_s)


def most_within(times: list[int], span_s: int) -> int:
    return max(sum(1 for t in times if start <= t < start + span_s) for start in times)


@pytest.mark.parametrize("known", [False, True])
async def test_no_hour_and_no_day_brings_an_address_more_than_its_mails(
    signup: Signup,
    known: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    if known:
        await make_known(signup, ADDRESS)
    await flood(signup, seconds=3 * DAY_S, every_s=30 * 60)
    times = await mails_to(signup, ADDRESS)
    assert most_within(times, HOUR_S) <= 5
    assert most_within(times, DAY_S) == 10
    assert len(times) >= 20


async def test_within_an_hour_there_are_five_mails_and_then_a_pause(signup: Signup) -> None:
    await flood(signup, seconds=2 * HOUR_S - 60, every_s=60)
    times = await mails_to(signup, ADDRESS)
    assert [t - times[0] for t in times] == [0, 60, 120, 180, 240, 240 + HOUR_S] + [
        240 + HOUR_S + 60 * n for n in range(1, 5)
    ]


async def test_who_asks_for_too_much_gets_the_same_answer_and_uses_the_mail_that_there_is(
    signup: Signup,
) -> None:
    answers = []
    for _ in range(6):
        answers.append(await signup.post("/v1/signups", {"email": ADDRESS}))
        signup.clock.advance(60)
    assert [answer.status_code for answer in answers] == [202] * 6
    assert len({tuple(answer.json()) for answer in answers}) == 1
    assert len(await mails_to(signup, ADDRESS)) == 5
    challenge = answers[-1].json()["challenge_id"]
    resent = await signup.post(f"/v1/signups/{challenge}/resend")
    assert resent.status_code == 202
    now_s = signup.clock.now_ms() / 1000
    waits_until = datetime.fromisoformat(resent.json()["resend_after"]).timestamp()
    assert waits_until - now_s == HOUR_S - 120
    assert len(await mails_to(signup, ADDRESS)) == 5
    assert (await signup.verify(challenge, await signup.code())).status_code == 200


async def test_a_clock_that_was_set_back_does_not_silence_an_address(signup: Signup) -> None:
    signup.clock.advance(400 * DAY_S)
    await signup.begin(ADDRESS)
    signup.clock.advance(-400 * DAY_S)
    await signup.begin(ADDRESS)
    assert len(await mails_to(signup, ADDRESS)) == 2


async def test_an_address_is_free_again_after_a_quiet_day(signup: Signup) -> None:
    await flood(signup, seconds=3 * HOUR_S, every_s=60)
    before = len(await mails_to(signup, ADDRESS))
    assert before == 10
    signup.clock.advance(DAY_S)
    await signup.begin(ADDRESS)
    assert len(await mails_to(signup, ADDRESS)) == 11
