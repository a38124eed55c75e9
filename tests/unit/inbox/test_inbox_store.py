"""The store of the inbox, with a file and without."""

import asyncio
from pathlib import Path

import pytest

from mailtopic_inbox.store import MailStore

MAILS = 300


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MailStore:
    return MailStore(tmp_path / "mails.db" if request.param == "file" else None)


async def add(store: MailStore, number: int) -> None:
    raw = f"Subject: mail {number}\r\n\r\n".encode()
    await store.add(mail_from="a@example.com", rcpt_to=["b@example.com"], raw=raw)


async def test_mails_are_kept_while_others_read_mark_and_delete(store: MailStore) -> None:
    going: set[str] = set()

    async def read_and_delete() -> None:
        listed = await store.page(start=0, limit=10)
        for message in listed["messages"]:
            # Another reader may have deleted it since it was listed.
            assert await store.detail(message["ID"]) or message["ID"] in going
        first = [message["ID"] for message in listed["messages"][:1]]
        going.update(first)
        await store.delete(first)

    adding = [add(store, number) for number in range(MAILS)]
    reading = [read_and_delete() for _ in range(10)]
    await asyncio.gather(*adding, *reading)
    left = await store.page(start=0, limit=1000)
    assert left["total"] == MAILS - len(going)
    store.close()


async def test_two_stores_in_memory_are_two_stores() -> None:
    first, second = MailStore(None), MailStore(None)
    await add(first, 1)
    assert (await first.page(start=0, limit=10))["total"] == 1
    assert (await second.page(start=0, limit=10))["total"] == 0
    first.close()
    second.close()


async def test_a_store_with_a_file_is_there_again_and_one_without_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path, kept in ((tmp_path / "a name with ? and #.db", 1), (None, 0)):
        store = MailStore(path)
        await add(store, 1)
        store.close()
        again = MailStore(path)
        assert (await again.page(start=0, limit=10))["total"] == kept
        again.close()
    assert stems_in(tmp_path) == {"a name with ? and #"}


def stems_in(folder: Path) -> set[str]:
    return {file.name.partition(".")[0] for file in folder.iterdir()}
