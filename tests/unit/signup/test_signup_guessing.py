"""A stranger who guesses, with everything that the API and the Internet allow.

NIST SP 800-63B §3.2.2 wants failures limited by account, and forbids that anything the guesser does
resets the count. With six digits and fewer than ten tries a day, a year of guessing finds a code
with a probability of less than 0.4 %. ADR 0027 has the arithmetic.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from mailtopic_signup.settings import DatabaseSettings
from support.signup_service import ServiceTokens, Signup, running_signup, signup_settings
from support.strangers import DAY_S, LONG, Person, Stranger, mailed_codes

VICTIM = "victim@example.com"
SPELLINGS = (VICTIM, "Victim@example.com", "VICTIM@EXAMPLE.COM", "victim@Example.com")
MAX_GUESSES = 9


async def every_way_at_once(stranger: Stranger) -> None:
    for spelling in SPELLINGS:
        await stranger.begin(spelling)
        await stranger.resend(stranger.dice.choice(stranger.challenges))
    newest = stranger.challenges[-12:]
    await asyncio.gather(*(stranger.guess(challenge) for challenge in newest for _ in range(2)))


async def one_after_the_other(stranger: Stranger) -> None:
    await stranger.begin()
    for _ in range(7):
        await stranger.guess(stranger.challenges[-1])
        await stranger.resend(stranger.challenges[-1])


async def patiently(stranger: Stranger) -> None:
    await stranger.begin()
    await stranger.guess(stranger.challenges[-1])


async def keeping_the_first_alive(stranger: Stranger) -> None:
    if not stranger.challenges:
        await stranger.begin()
    await stranger.resend(stranger.challenges[0])
    await stranger.guess(stranger.challenges[0])


@pytest.mark.parametrize(
    ("strategy", "least"),
    [
        (every_way_at_once, 6),
        (one_after_the_other, 5),
        (patiently, 1),
        (keeping_the_first_alive, 2),
    ],
)
@pytest.mark.parametrize("pause_s", [61, 3 * 3600 + 7])
async def test_no_stranger_gets_ten_tries_a_day_and_address(
    signup: Signup, strategy: Callable[[Stranger], Awaitable[None]], least: int, pause_s: int
) -> None:
    stranger = Stranger(signup, VICTIM)
    for _ in range(25):
        await strategy(stranger)
        signup.clock.advance(pause_s)
    assert least <= stranger.most_in_a_day() <= MAX_GUESSES


async def test_of_forty_challenges_and_two_hundred_guesses_at_once_nine_are_looked_at(
    signup: Signup,
) -> None:
    stranger = Stranger(signup, VICTIM)
    for _ in range(40):
        await stranger.begin()
    await asyncio.gather(*(stranger.guess(each) for each in stranger.challenges for _ in range(5)))
    assert stranger.most_in_a_day() == MAX_GUESSES


async def test_a_long_code_is_no_guess_at_a_short_one_and_has_no_end_of_tries(
    signup: Signup,
) -> None:
    stranger = Stranger(signup, VICTIM)
    for _ in range(20):
        await stranger.begin()
        statuses = [await stranger.guess(stranger.challenges[-1], length=LONG) for _ in range(6)]
        assert statuses == [422] * 5 + [429]
    assert stranger.most_in_a_day() == 0
    # None of that took a try from the short code.
    person = Person(signup, VICTIM)
    await person.begin()
    assert await person.type_newest() == 200


async def test_the_owner_who_confirms_in_between_does_not_give_the_stranger_more(
    signup: Signup,
) -> None:
    stranger = Stranger(signup, VICTIM)
    challenge = await signup.begin(VICTIM)
    code = await signup.code()
    await stranger.begin()
    for _ in range(5):
        await stranger.guess(stranger.challenges[-1])
    assert (await signup.verify(challenge, code)).status_code == 200
    # From now on the address is known: no challenge of it takes any code.
    signup.clock.advance(61)
    await stranger.begin()
    for _ in range(20):
        await stranger.guess(stranger.challenges[-1])
    assert await mailed_codes(signup, VICTIM) == [code]


@dataclass(frozen=True, slots=True)
class Stage:
    """One service for all examples, whose clock only goes forwards; each has its own victim."""

    runner: asyncio.Runner
    signup: Signup
    numbers: Iterator[int]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("stage")
    database = DatabaseSettings(
        url=SecretStr(f"sqlite:///{folder}/signup.db"), synchronous="NORMAL"
    )
    service = running_signup(signup_settings(folder, ServiceTokens.make(), database))
    with asyncio.Runner() as runner:
        yield Stage(runner, runner.run(service.__aenter__()), iter(range(1_000_000)))
        runner.run(service.__aexit__(None, None, None))


_ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "resend", "guess", "spend", "long"]),
        st.integers(0, 5),
        st.sampled_from([0, 1, 59, 61, 599, 3600, 5000, 40_000, DAY_S - 601, DAY_S]),
    ),
    max_size=14,
)


@settings(max_examples=25)
@given(actions=_ACTIONS)
def test_whatever_strangers_do_guesses_are_bounded_and_the_owner_confirms(
    stage: Stage, actions: list[tuple[str, int, int]]
) -> None:
    stage.runner.run(_play(stage.signup, f"victim{next(stage.numbers)}@example.com", actions))


async def _play(signup: Signup, victim: str, actions: list[tuple[str, int, int]]) -> None:
    stranger = Stranger(signup, victim)
    await stranger.begin()
    for action, which, pause_s in actions:
        challenge = stranger.challenges[-1 - which % len(stranger.challenges)]
        match action:
            case "begin":
                await stranger.begin()
            case "resend":
                await stranger.resend(challenge)
            case "guess":
                await stranger.guess(challenge)
            case "spend":
                await stranger.begin()
                await stranger.spend()
            case "long":
                await stranger.guess(challenge, length=LONG)
        signup.clock.advance(pause_s)
    assert stranger.most_in_a_day() <= MAX_GUESSES
    await _confirm(signup, victim, stranger)


async def _confirm(signup: Signup, victim: str, stranger: Stranger) -> None:
    """The owner confirms within two mails, while the stranger goes on with all that there is."""
    person = Person(signup, victim)
    await person.begin()
    await stranger.begin()
    await stranger.spend()
    if await person.type_newest() == 200:
        return
    signup.clock.advance(60)
    await stranger.begin()
    await stranger.spend()
    # What the answer to the signup promised: a code that works, after a minute.
    assert await person.resend() == 202
    assert await person.type_newest() == 200
    assert stranger.most_in_a_day() <= MAX_GUESSES
