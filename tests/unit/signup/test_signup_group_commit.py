"""What arrives while a transaction runs shares the next one, and each has its own answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Engine, event

from mailtopic_signup.adapters.group_commit import GroupCommit
from mailtopic_signup.ports import DatabaseUnavailable
from support.conditions import until
from support.signup_service import Signup


@dataclass
class Ledger:
    """Writes texts, one group after the other, when it may."""

    may_write: asyncio.Event = field(default_factory=asyncio.Event)
    groups: list[list[str]] = field(default_factory=list)
    is_away: bool = False

    def group_commit(self, limit: int = 100) -> GroupCommit[str, str]:
        """Texts that begin with the same letter have the same key."""
        return GroupCommit(self.write, key=lambda text: text[0], limit=limit)

    async def write(self, texts: Sequence[str]) -> Sequence[str]:
        self.groups.append(list(texts))
        await self.may_write.wait()
        if self.is_away:
            raise DatabaseUnavailable("the database does not answer")
        if "bad" in texts:
            raise ValueError("one of them is bad")
        return [text.upper() for text in texts]


Answers = list[asyncio.Task[str]]


async def submitted(commit: GroupCommit[str, str], texts: str) -> Answers:
    """Submit texts, and let them arrive."""
    answers = [asyncio.create_task(commit.submit(text)) for text in texts.split()]
    await asyncio.sleep(0)
    return answers


async def first_group(ledger: Ledger, commit: GroupCommit[str, str]) -> Answers:
    answers = await submitted(commit, "first")
    await until(lambda: ledger.groups, "the first group is being written")
    return answers


async def test_what_arrives_meanwhile_shares_the_next_transaction() -> None:
    ledger = Ledger()
    commit = ledger.group_commit()
    answers = await first_group(ledger, commit)
    answers += await submitted(commit, "a b c d")
    assert not any(answer.done() for answer in answers)
    ledger.may_write.set()
    assert await asyncio.gather(*answers) == ["FIRST", "A", "B", "C", "D"]
    assert ledger.groups == [["first"], ["a", "b", "c", "d"]]


async def test_of_one_key_a_group_holds_one_and_the_others_follow_in_order() -> None:
    ledger = Ledger()
    commit = ledger.group_commit()
    answers = await first_group(ledger, commit)
    answers += await submitted(commit, "a1 b1 a2 a3 b2")
    ledger.may_write.set()
    assert await asyncio.gather(*answers) == ["FIRST", "A1", "B1", "A2", "A3", "B2"]
    assert ledger.groups[1:] == [["a1", "b1"], ["a2", "b2"], ["a3"]]


async def test_a_group_is_never_larger_than_its_limit() -> None:
    ledger = Ledger()
    commit = ledger.group_commit(limit=2)
    answers = await first_group(ledger, commit)
    answers += await submitted(commit, "a b c d e")
    ledger.may_write.set()
    await asyncio.gather(*answers)
    assert ledger.groups[1:] == [["a", "b"], ["c", "d"], ["e"]]


async def test_one_that_cannot_be_written_fails_alone() -> None:
    ledger = Ledger()
    commit = ledger.group_commit()
    answers = await first_group(ledger, commit)
    answers += await submitted(commit, "a bad c")
    ledger.may_write.set()
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert [str(result) for result in results] == ["FIRST", "A", "one of them is bad", "C"]
    assert isinstance(results[2], ValueError)


async def test_without_a_database_all_that_wait_are_told_and_the_next_one_is_tried() -> None:
    ledger = Ledger(is_away=True)
    commit = ledger.group_commit()
    answers = await first_group(ledger, commit)
    answers += await submitted(commit, "a b")
    ledger.may_write.set()
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseUnavailable] * 3
    # Nobody's traceback grows by another's: each has an error of its own.
    assert len({id(result) for result in results}) == 3
    assert ledger.groups == [["first"]]
    ledger.is_away = False
    assert await commit.submit("again") == "AGAIN"


async def test_what_nobody_waits_for_any_more_is_not_written() -> None:
    ledger = Ledger()
    commit = ledger.group_commit()
    answers = await first_group(ledger, commit)
    gone, stays = await submitted(commit, "a b")
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    ledger.may_write.set()
    assert await asyncio.gather(*answers, stays) == ["FIRST", "B"]
    assert ledger.groups == [["first"], ["b"]]


async def test_signups_at_once_share_transactions_and_each_gets_its_own_challenge(
    signup: Signup,
) -> None:
    commits: list[object] = []

    def note(connection: object) -> None:
        commits.append(connection)

    event.listen(Engine, "commit", note)
    try:
        addresses = [f"user{number}@example.com" for number in range(40)]
        challenges = await asyncio.gather(*(signup.begin(address) for address in addresses))
    finally:
        event.remove(Engine, "commit", note)
    assert len(set(challenges)) == 40
    assert len(commits) <= 20
    assert {mail.email for mail in await signup.mails()} == set(addresses)


async def test_many_signups_of_one_address_at_once_are_one_mail(signup: Signup) -> None:
    spellings = ["anna@example.com", "Anna@example.com", "anna@EXAMPLE.com", "ANNA@example.com"]
    challenges = await asyncio.gather(*(signup.begin(address) for address in spellings * 3))
    assert len(set(challenges)) == 12
    assert len(await signup.mails()) == 1
    verified = await signup.verify(challenges[0], await signup.code())
    assert verified.status_code == 200
