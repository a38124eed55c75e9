"""What a stranger did to an address's owner, attack by attack; none of it works any more."""

import asyncio
from datetime import datetime

import httpx
import pytest

from mailtopic_signup.settings import SignupSettings
from support.signup_service import Signup, running_signup
from support.strangers import LONG, Person, Stranger, mailed_codes

VICTIM = "victim@example.com"
HOUR_S, DAY_S = 3600, 86_400


async def attack(signup: Signup, *, rounds: int, address: str = VICTIM) -> Stranger:
    """Take all mails that there are, and all tries at the first codes."""
    stranger = Stranger(signup, address)
    for number in range(rounds):
        await stranger.begin()
        if number < 3:
            await stranger.spend()
        signup.clock.advance(60)
    return stranger


async def test_twelve_requests_lock_nobody_out(signup: Signup) -> None:
    """Two signups and ten wrong codes stopped the owner's right code for a day."""
    await attack(signup, rounds=2)
    person = Person(signup, VICTIM)
    await person.begin()
    assert await person.type_newest() == 200


async def test_a_challenge_that_has_its_code_verifies_whatever_strangers_do(
    signup: Signup,
) -> None:
    person = Person(signup, VICTIM)
    await person.begin()
    (code,) = await mailed_codes(signup, VICTIM)
    await attack(signup, rounds=9)
    assert (await signup.verify(person.challenge, code)).status_code == 200


@pytest.mark.parametrize("rounds", [1, 2, 5, 70])
@pytest.mark.parametrize("pause_s", [0, 599, HOUR_S - 1, DAY_S - 1])
async def test_whenever_the_owner_comes_a_code_works_within_what_was_promised(
    signup: Signup, rounds: int, pause_s: int
) -> None:
    stranger = await attack(signup, rounds=rounds)
    signup.clock.advance(pause_s)
    answer = await signup.post("/v1/signups", {"email": VICTIM})
    person = Person(signup, VICTIM, challenge=answer.json()["challenge_id"])
    await stranger.begin()
    await stranger.spend()
    status = await person.type_newest()
    if status != 200:
        # The day's first code is the stranger's, whose guesses used up the others' tries at it.
        promised = datetime.fromisoformat(answer.json()["resend_after"]).timestamp()
        signup.clock.advance(promised - signup.clock.now_ms() / 1000)
        await stranger.begin()
        assert await person.resend() == 202
        assert await person.type_newest() == 200


@pytest.mark.parametrize(
    ("address", "spelling"),
    [(VICTIM, "VICTIM@example.com"), ("jane.roe@gmail.com", "janeroe+x@googlemail.com")],
)
async def test_other_spellings_of_a_mailbox_take_nothing_away(
    signup: Signup, address: str, spelling: str
) -> None:
    stranger = await attack(signup, rounds=6, address=spelling)
    person = Person(signup, address)
    await person.begin()
    # What the mailbox holds is read whichever spelling the stranger wrote.
    person.address = spelling
    assert await person.type_newest() == 200
    assert stranger.most_in_a_day() <= 9


@pytest.mark.parametrize("domain", ["gmail.com", "example.com"])
async def test_tags_bring_a_mailbox_no_more_mails(signup: Signup, domain: str) -> None:
    """Twenty-five tags brought twenty-five mails at once."""
    for _ in range(3):
        for number in range(25):
            await signup.begin(f"jane.roe+{number}@{domain}")
        signup.clock.advance(60)
    assert len(await signup.mails()) == 3


async def test_tags_of_strangers_lock_no_tag_out_and_reach_no_other_name(signup: Signup) -> None:
    await attack(signup, rounds=6, address="jane+a@example.com")
    untouched, tagged = (
        Person(signup, "jane@example.com"),
        Person(signup, "jane+shop@example.com"),
    )
    await untouched.begin()
    assert await untouched.type_newest() == 200
    await tagged.begin()
    tagged.address = "jane+a@example.com"  # whose mails are in the same mailbox
    assert await tagged.type_newest() == 200
    mails = [mail.email for mail in await signup.mails()]
    other = await signup.begin("jane@example.org")
    code = (await mailed_codes(signup, mails[0]))[-1]
    assert (await signup.verify(other, code)).status_code == 422


async def test_a_code_that_cannot_be_tried_here_says_so_and_a_resend_brings_one_that_can(
    signup: Signup,
) -> None:
    await signup.begin(VICTIM)  # its answer was lost
    person = Person(signup, VICTIM)
    await person.begin()
    stranger = Stranger(signup, VICTIM)
    await stranger.begin()
    await stranger.spend()
    (code,) = await mailed_codes(signup, VICTIM)
    refused = await signup.verify(person.challenge, code)
    assert refused.status_code == 429
    assert refused.json()["type"].endswith(":new-code-needed")
    assert refused.headers["retry-after"] == "60"
    assert (await signup.status(person.challenge))["state"] == "pending"
    signup.clock.advance(60)
    assert await person.resend() == 202
    assert len((await mailed_codes(signup, VICTIM))[-1]) == LONG
    assert await person.type_newest() == 200


async def test_every_code_that_was_mailed_works_for_as_long_as_it_is_valid(
    signup: Signup,
) -> None:
    challenges = []
    for _ in range(5):
        challenges.append(await signup.begin(VICTIM))
        signup.clock.advance(60)
    codes = await mailed_codes(signup, VICTIM)
    assert [len(code) for code in codes] == [6] + [LONG] * 4
    assert len(set(codes)) == 2
    assert (await signup.verify(challenges[0], codes[0])).status_code == 200


async def test_two_tabs_and_a_double_submit_share_the_code(signup: Signup) -> None:
    answers = await asyncio.gather(
        *(signup.post("/v1/signups", {"email": VICTIM}) for _ in range(2))
    )
    (code,) = await mailed_codes(signup, VICTIM)
    statuses = []
    for answer in answers:
        challenge = answer.json()["challenge_id"]
        statuses.append((await signup.verify(challenge, code)).status_code)
    assert statuses == [200, 422]


@pytest.mark.parametrize("is_long", [False, True])
async def test_of_right_codes_in_many_challenges_at_once_one_wins(
    signup: Signup,
    is_long: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    if is_long:
        await signup.begin(VICTIM)
        signup.clock.advance(60)
    challenges = [await signup.begin(VICTIM) for _ in range(4)]
    code = (await mailed_codes(signup, VICTIM))[-1]
    answers: list[httpx.Response] = await asyncio.gather(
        *(signup.verify(challenge, code) for challenge in challenges for _ in range(3))
    )
    assert [answer.status_code for answer in answers].count(200) == 1
    # Nor later, in a challenge that was begun before.
    signup.clock.advance(60)
    for challenge in challenges:
        await signup.post(f"/v1/signups/{challenge}/resend")
        assert (await signup.verify(challenge, code)).status_code in {409, 422, 429}


@pytest.mark.parametrize("way", ["begin", "resend"])
async def test_a_resend_is_granted_at_its_time_although_a_stranger_took_the_mail(
    signup: Signup, way: str
) -> None:
    stranger = Stranger(signup, VICTIM)
    for _ in range(2):
        await stranger.begin()
    person = Person(signup, VICTIM)
    signup.clock.advance(10)
    await person.begin()
    for _ in range(5):  # all tries that are not the first challenge's own
        await stranger.guess(stranger.challenges[1])
    assert await person.type_newest() != 200
    signup.clock.advance(50)
    await (stranger.begin() if way == "begin" else stranger.resend(stranger.challenges[0]))
    signup.clock.advance(10)
    count = len(await signup.mails())
    assert await person.resend() == 202
    assert len(await signup.mails()) == count == 2
    status = await signup.status(person.challenge)
    assert (status["state"], status["delivery"]) == ("pending", "queued")
    assert await person.type_newest() == 200


@pytest.mark.parametrize("caps", [{"max_mails_per_hour": 1}, {"resend_cooldown_s": 3600}])
async def test_where_the_next_mail_is_far_the_first_brings_a_long_code(
    settings: SignupSettings, caps: dict[str, int]
) -> None:
    codes = settings.codes.model_copy(update=caps)
    async with running_signup(settings.model_copy(update={"codes": codes})) as signup:
        for number in range(2):  # an address that is new, and one that was quiet for days
            await attack(signup, rounds=3)
            signup.clock.advance(HOUR_S - 200)
            person = Person(signup, VICTIM)
            await person.begin()
            (*_, code) = await mailed_codes(signup, VICTIM)
            assert len(code) == LONG
            if number:
                assert await person.type_newest() == 200
            signup.clock.advance(3 * DAY_S)


async def test_a_rotated_pepper_makes_new_codes_and_takes_the_old_ones(signup: Signup) -> None:
    old, challenge = "p1", await signup.begin(VICTIM)
    peppers = signup.parts.keys.peppers
    peppers.adopt(type(peppers)(active="p2", keys={old: b"o" * 32, "p2": b"n" * 32}))
    signup.clock.advance(60)
    assert (await signup.post(f"/v1/signups/{challenge}/resend")).status_code == 202
    assert (await signup.verify(challenge, await signup.code())).status_code == 200
