"""What the benchmark of relays' limits counts, and what it writes."""

import asyncio

import pytest

from benchmarks.limits.journal import Journal, Taken, address, refused_line, taken_line
from benchmarks.limits.report import section
from benchmarks.limits.runs import Room, Run
from benchmarks.limits.trials import trials


def line(number: int, *, accepted_s: float, taken_s: float) -> str:
    return taken_line(address(number, accepted_s), taken_s)


def test_what_was_taken_and_refused_is_counted_between_two_moments() -> None:
    journal = Journal.of(
        [
            line(1, accepted_s=100, taken_s=109.9),  # while it learned
            line(2, accepted_s=100, taken_s=110),
            line(3, accepted_s=110, taken_s=112),
            line(3, accepted_s=110, taken_s=113),  # a second copy
            line(4, accepted_s=110, taken_s=120),  # too late
            refused_line(105),
            refused_line(111),
        ]
    )
    found = journal.found(began_s=110, until_s=120, limit_per_s=0.5)
    assert found.taken == pytest.approx(2 / 10 / 0.5)
    assert found.refusals == pytest.approx(1 / 2)
    assert (found.wait_p50_s, found.wait_p95_s) == (10, 10)
    assert found.copies == 1


def test_a_relay_that_took_nothing_is_counted_as_well() -> None:
    found = Journal.of([refused_line(111)]).found(began_s=110, until_s=120, limit_per_s=1)
    assert (found.taken, found.refusals) == (0, 1)


def test_an_address_says_when_its_mail_was_given() -> None:
    assert Taken.of(address(7, 1_700_000_000.25), 5) == Taken(5, 7, 1_700_000_000.25)
    with pytest.raises(ValueError, match="not an address"):
        Taken.of("person@example.org", 5)


def test_trials_have_names_of_their_own_and_a_load_that_reaches_the_limit() -> None:
    found = trials(30, 60)
    assert len({trial.name for trial in found}) == len(found)
    assert all(trial.scenario.offered_per_s >= trial.scenario.limit_per_s for trial in found)


def test_the_table_names_each_relay_once_and_says_what_was_given_up() -> None:
    trial = trials(30, 60)[0]
    found = Journal.of([line(1, accepted_s=1, taken_s=3)]).found(
        began_s=0, until_s=10, limit_per_s=1
    )
    runs = [Run(trial.name, "bullmq", found, 1, 1200), Run(trial.name, "ours", found, 0.5, 0)]
    slow = "only 50% of the load could be given to it"
    table = section([trial], runs, {"cores": "2"})
    assert table[2:4] == [
        f"| {trial.name} | MailTopic, one sender | 0.10 | 0.000 | 2.00 s | 2.00 s | {slow} |",
        "|  | BullMQ, nodemailer's pool | 0.10 | 0.000 | 2.00 s | 2.00 s | 1,200 given up |",
    ]
    assert table[-1] == "Measured on: cores 2."


async def test_runs_beside_each_other_offer_no_more_than_there_is_room_for() -> None:
    room, beside, most = Room(100), 0.0, 0.0

    async def run(per_s: float) -> None:
        nonlocal beside, most
        async with room.of(per_s):
            beside += min(per_s, 100)
            most = max(most, beside)
            await asyncio.sleep(0)
            beside -= min(per_s, 100)

    await asyncio.gather(*(run(per_s) for per_s in (60, 40, 40, 500, 10)))
    assert most == 100
