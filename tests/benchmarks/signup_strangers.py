"""What strangers gain and owners lose at an address: `python -m benchmarks.signup_strangers`.

The real service on a virtual clock and SQLite, with its limits as they are by default. In each run
a stranger attacks an address for a day: takes each mail that it may get, and guesses short codes
as long as they are looked at. Its owner comes at a random moment of it, reads the newest mail after
20 s, types its code, and asks for another one when the page says so; five minutes are the patience.

Guesses are wrong on purpose, and those that could have been right are counted: the chance of a day
is their number times 10^-6. Long codes are guessed without an end of tries, so their share is what
limits by client let through, times 10^-16: too little to simulate, and computed.
"""

import argparse
import asyncio
import contextlib
import io
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pydantic import SecretStr

from mailtopic_signup.domain.code import LONG_CODE_LENGTH
from mailtopic_signup.settings import ClientsSettings, DatabaseSettings, SignupSettings
from support.signup_service import ServiceTokens, Signup, running_signup, signup_settings
from support.strangers import DAY_S, Person, Stranger

NETWORKS = (1, 100, 65_536)
_READS_AFTER_S = 20
_PATIENCE_S = 300
_ATTACK_EVERY_S = 61
_LIMITS = ClientsSettings(trusted_proxies=1)


@dataclass(frozen=True, slots=True)
class Day:
    """What became of one address: guesses that could have been right, and how the owner fared."""

    guesses: int
    mails: int
    seconds: int | None
    """From the signup to the confirmation; None if there was none."""


async def attacked_day(signup: Signup, number: int, networks: int, dice: Random) -> Day:
    """Attack an address for a day; its owner comes at some moment of it."""
    victim = f"victim{number}-{networks}@example.com"
    stranger = Stranger(signup, victim, networks=networks, dice=dice)
    comes_s = dice.choice((dice.randrange(120), dice.randrange(7200), dice.randrange(DAY_S)))
    seconds: int | None = None
    now_s = 0
    while now_s < DAY_S:
        await _strike(stranger)
        if seconds is None and now_s >= comes_s:
            began_s = signup.clock.monotonic_s()
            seconds = await _owner(signup, victim, stranger)
            now_s += round(signup.clock.monotonic_s() - began_s)
            if seconds is not None:
                break  # the address is confirmed: nothing is left to be guessed
        # Nothing changes between two mails: the stranger comes as soon as there is another one.
        step_s = 600 if 700 < now_s < comes_s - 300 else _ATTACK_EVERY_S
        if now_s < comes_s:
            step_s = min(step_s, comes_s - now_s)
        signup.clock.advance(step_s)
        now_s += step_s
    mails = sum(mail.email == victim for mail in await signup.mails())
    await signup.parts.outbox.mark_published(
        [mail.id for mail in await signup.mails()], now_ms=signup.clock.now_ms()
    )
    return Day(stranger.most_in_a_day(), mails, seconds)


async def _strike(stranger: Stranger) -> None:
    await stranger.begin()
    if stranger.challenges:
        await stranger.resend(stranger.challenges[0])
    await stranger.spend()


async def _owner(signup: Signup, victim: str, stranger: Stranger) -> int | None:
    """The owner signs up; returns the seconds that it took, None if the patience ended."""
    person = Person(signup, victim)
    await person.begin()
    for waited_s in range(0, _PATIENCE_S, _READS_AFTER_S):
        signup.clock.advance(_READS_AFTER_S)
        await _strike(stranger)
        if await person.type_newest() == 200:
            return waited_s + _READS_AFTER_S
        await person.resend()  # refused until it is time
    return None


def long_guesses_a_day(networks: int) -> float:
    """Guesses that limits by client let through to one process."""
    return networks * _LIMITS.verifies_per_five_minutes * DAY_S / 300


def row(networks: int, days: Sequence[Day]) -> str:
    """Return a row of the table."""
    most = max(day.guesses for day in days)
    mean = sum(day.guesses for day in days) / len(days)
    short, long = most * 1e-6, long_guesses_a_day(networks) * 10.0**-LONG_CODE_LENGTH
    took = sorted(day.seconds for day in days if day.seconds is not None)
    return (
        f"| {networks:,} | {most} (mean {mean:.1f}) | {short:.1e} | {long:.1e} | "
        f"{short + long:.2e} | {len(took) / len(days):.3f} of {len(days)} | "
        f"{took[len(took) // 2]} s, {took[-1]} s | {max(day.mails for day in days)} |"
    )


async def simulate(settings: SignupSettings, networks: int, victims: int) -> list[Day]:
    """Attack that many addresses, one after the other."""
    dice = Random(networks)  # noqa: S311 - to be repeatable
    async with running_signup(settings.model_copy(update={"clients": _LIMITS})) as signup:
        return [await attacked_day(signup, n, networks, dice) for n in range(victims)]


async def _run(victims: int, all_networks: Sequence[int]) -> None:
    head = (
        "networks",
        "guesses at short codes in 24 h, at most",
        "their chance",
        "chance of guesses at long codes",
        "a stranger's chance a day and address",
        "owners who confirmed",
        "it took them (median, longest)",
        "mails, at most",
    )
    sys.stdout.write(f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n")
    for networks in all_networks:
        with tempfile.TemporaryDirectory() as folder:
            database = DatabaseSettings(
                url=SecretStr(f"sqlite:///{folder}/signup.db"), synchronous="NORMAL"
            )
            settings = signup_settings(Path(folder), ServiceTokens.make(), database)
            with contextlib.redirect_stdout(io.StringIO()):  # the service's log
                days = await simulate(settings, networks, victims)
        sys.stdout.write(row(networks, days) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--victims", type=int, default=120)
    parser.add_argument("--networks", type=int, nargs="+", default=NETWORKS)
    given = parser.parse_args()
    asyncio.run(_run(given.victims, given.networks))


if __name__ == "__main__":
    main()
