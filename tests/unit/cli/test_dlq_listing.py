"""What `list` and `show` print, over the shipped fake."""

import io
import json
from uuid import UUID, uuid4

import pytest

from mailtopic_cli.dlq.letter import read_letter
from mailtopic_cli.dlq.listing import MAX_CLASSES, ByClass, list_letters, row_of
from mailtopic_cli.dlq.memory import MemoryTopics
from mailtopic_cli.dlq.ports import NewRecord, TopicRecord
from mailtopic_cli.dlq.progress import Progress
from mailtopic_cli.dlq.selection import Selection
from mailtopic_cli.dlq.session import Session
from mailtopic_cli.dlq.showing import show_letters
from mailtopic_contract import (
    ErrorInfo,
    KeyRing,
    LegacyDefaults,
    MailHeaders,
    MailSeal,
    RecordOrigin,
    TopicNames,
    new_record,
)
from mailtopic_runtime import ManualClock

NAMES = TopicNames("mails-20260131")
LEGACY = LegacyDefaults(locale="en", max_age_ms=600_000)
SECRETS = ("123456", "somebody", "271828")


@pytest.fixture
def session() -> Session:
    clock = ManualClock()
    topics = MemoryTopics(clock, frozenset(NAMES.all))
    return Session(NAMES, LEGACY, topics, clock, Progress(io.StringIO()))


def put(session: Session, value: bytes, headers: MailHeaders, partition: int = 0) -> TopicRecord:
    topics = session.reader
    assert isinstance(topics, MemoryTopics)
    record = NewRecord(NAMES.dlq, partition, b"k", value, tuple(headers.encode()))
    return topics.put(record)


def dead(error_class: str = "poison", mail_id: UUID | None = None) -> MailHeaders:
    return MailHeaders(
        mail_id=mail_id or uuid4(),
        origin=RecordOrigin(NAMES.main, 0, 5, 1),
        error=ErrorInfo(error_class, "RecordError", "code 123456. for somebody@example.com"),
        others=(("x-somebody-123456", b"somebody@example.com 271828"),),
    )


def mail_value(session: Session, *, keyring: KeyRing | None = None) -> bytes:
    now_ms = session.clock.now_ms()
    return new_record(
        email="somebody@example.com",
        variables={"code": "123456"},
        purpose="signup",
        locale="en",
        accepted_at_ms=now_ms,
        expires_at_ms=now_ms + 1000,
        seal=MailSeal(keyring, "mails") if keyring else None,
    ).encode()


async def test_the_table_ends_with_the_counts(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    put(session, b"{", dead())
    put(session, mail_value(session), dead("bug"), partition=2)
    put(session, b"", dead("bug"), partition=1)
    await list_letters(session, Selection(), limit=2, as_json=False)
    head, first, second, more, empty, counts = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["PLACE", "ID", "DIED", "CLASS"]
    assert first.startswith("0/0 ")
    assert f"{NAMES.main}/0/5" in first
    assert second.startswith("1/2 ")
    assert more == "… and 1 more; --limit 0 shows all"
    assert empty == ""
    assert counts == "3 dead letters: 2 bug, 1 poison"


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_json_is_one_document(
    session: Session, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    for _ in range(count):
        put(session, mail_value(session), dead())
    await list_letters(session, Selection(), limit=None, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["total"] == len(document["records"]) == count
    assert document["by_class"] == ({"poison": count} if count else {})
    assert [row["to"] for row in document["records"]] == ["s***@example.com"] * count


async def test_a_mail_expires_in_the_table(session: Session) -> None:
    letter = read_letter(put(session, mail_value(session), dead()), LEGACY)
    now_ms = session.clock.now_ms()
    assert row_of(letter, now_ms=now_ms).expired is False
    assert row_of(letter, now_ms=now_ms + 1000).expired is True


@pytest.mark.parametrize(
    "value",
    [
        b'{"email":"somebody@example.com","code":"123456"}',
        b'{"email":"somebody@example.com","code":"123456"',
        b'{"email":"somebody@example.com","code":"123456","somebody":"271828"}',
        b"somebody%40example.com 271828 123456",
        "somebody 123456".encode("utf-16"),
    ],
)
async def test_nothing_shows_a_code_or_a_full_address(
    session: Session, capsys: pytest.CaptureFixture[str], value: bytes
) -> None:
    record = put(session, value, dead())
    put(session, mail_value(session), dead("somebody@example.com 123456."))
    await list_letters(session, Selection(), limit=None, as_json=False)
    await list_letters(session, Selection(), limit=None, as_json=True)
    assert await show_letters(session, (record.partition, record.offset)) == 0
    assert await show_letters(session, (0, 1)) == 0
    shown = capsys.readouterr().out
    assert not [secret for secret in SECRETS if secret in shown]


async def test_show_tells_what_may_be_known_of_a_sealed_mail(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    mail_id = uuid4()
    put(session, mail_value(session, keyring=KeyRing.generate("k7")), dead("bug", mail_id))
    put(session, b"{", dead())
    assert await show_letters(session, mail_id) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["mt-id"] == str(mail_id)
    assert shown["to"] == "s***@example.com"
    assert shown["variables"] == "sealed with the key k7"
    assert shown["mt-error-message"] == "code ***. for ***"


async def test_show_says_when_there_is_no_such_letter(session: Session) -> None:
    put(session, b"{", dead())
    assert await show_letters(session, uuid4()) == 1
    assert await show_letters(session, (0, 9)) == 1
    assert await show_letters(session, (77, 0)) == 1


def test_the_number_of_classes_is_bounded() -> None:
    counts = ByClass()
    for number in range(10 * MAX_CLASSES):
        counts.add(str(number))
    assert counts.total == 10 * MAX_CLASSES
    assert len(counts.document()) == MAX_CLASSES + 1
