"""Planning and replaying, over the shipped fakes."""

import asyncio
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from mailtopic_cli.dlq.errors import BrokerAway, TakenOver, TopicMissing
from mailtopic_cli.dlq.memory import MemoryReplayWriter, MemoryTopics
from mailtopic_cli.dlq.ports import NewRecord, TopicRecord
from mailtopic_cli.dlq.progress import Progress
from mailtopic_cli.dlq.replaying import EXIT_INTERRUPTED, ReplayOptions, replay_letters
from mailtopic_cli.dlq.selection import Selection
from mailtopic_cli.dlq.session import Session
from mailtopic_contract import (
    ErrorInfo,
    LegacyDefaults,
    MailHeaders,
    MailRecord,
    Outcome,
    RecordOrigin,
    StatusEvent,
    TopicNames,
    decode_headers,
    decode_status,
    new_record,
)
from mailtopic_runtime import ManualClock

NAMES = TopicNames("mails")


@dataclass
class Dlq:
    """The topics of one MailTopic in memory, and replays on them."""

    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.topics = MemoryTopics(self.clock, frozenset(NAMES.all))
        legacy = LegacyDefaults(locale="en", max_age_ms=600_000)
        progress = Progress(io.StringIO())
        self.session = Session(NAMES, legacy, self.topics, self.clock, progress)

    def mail(self, email: str = "user@example.com", *, mail_id: UUID | None = None) -> MailRecord:
        return new_record(
            email=email,
            variables={"code": "123456"},
            purpose="signup",
            locale="en",
            accepted_at_ms=self.clock.now_ms(),
            expires_at_ms=self.clock.now_ms() + 600_000,
            seal=None,
            mail_id=mail_id,
        )

    def bury(
        self, mail: MailRecord, *, attempt: int = 1, others: tuple[tuple[str, bytes], ...] = ()
    ) -> TopicRecord:
        headers = MailHeaders(
            mail_id=mail.id,
            attempt=attempt,
            not_before_ms=1,
            first_failure_at_ms=2,
            origin=RecordOrigin("mails", 1, 7, 5),
            error=ErrorInfo("bug", "KeyError", "bad"),
            others=others,
        )
        self.record(mail.id, Outcome.DEAD, attempt=attempt)
        key = mail.address.partition_key
        return self.topics.put(NewRecord(NAMES.dlq, 1, key, mail.encode(), tuple(headers.encode())))

    def record(self, mail_id: UUID, outcome: Outcome, *, attempt: int = 1) -> None:
        event = StatusEvent(
            id=mail_id, outcome=outcome, at=self.clock.now_ms(), attempt=attempt, purpose="signup"
        )
        self.topics.put(NewRecord(NAMES.status, 1, event.key, event.encode()))

    def publish(self, mail: MailRecord) -> None:
        self.topics.put(NewRecord("mails", 1, mail.address.partition_key, mail.encode()))

    async def replay(
        self,
        selection: Selection | None = None,
        *,
        writer: MemoryReplayWriter | None = None,
        is_dry_run: bool = False,
        answer: bool | None = None,
        stop: asyncio.Event | None = None,
    ) -> int:
        async def ask(_question: str, _stop: asyncio.Event) -> bool:
            return bool(answer)

        return await replay_letters(
            self.session,
            writer or MemoryReplayWriter(self.topics),
            ReplayOptions(
                selection or Selection(),
                superseding=("signup",),
                is_dry_run=is_dry_run,
                ask=None if answer is None else ask,
            ),
            stop=stop or asyncio.Event(),
        )

    def replays(self) -> Sequence[TopicRecord]:
        return [r for r in self.topics.stored("mails") if dict(r.headers).get("mt-id")]

    def events(self) -> list[StatusEvent]:
        return [decode_status(record.value) for record in self.topics.stored(NAMES.status)]


@pytest.fixture
def dlq() -> Dlq:
    return Dlq()


async def test_a_replay_keeps_the_record_and_asks_for_the_next_attempt(dlq: Dlq) -> None:
    dead = dlq.bury(dlq.mail(), attempt=3, others=(("x-team", b"\xff"),))
    assert await dlq.replay() == 0
    (replay,) = dlq.replays()
    assert (replay.partition, replay.key, replay.value) == (dead.partition, dead.key, dead.value)
    before, after = decode_headers(dead.headers), decode_headers(replay.headers)
    assert after.attempt == 4
    assert after.error is None
    assert after.not_before_ms is None
    assert (after.mail_id, after.origin, after.others, after.first_failure_at_ms) == (
        before.mail_id,
        before.origin,
        before.others,
        before.first_failure_at_ms,
    )
    assert [(event.outcome, event.attempt) for event in dlq.events()] == [
        (Outcome.DEAD, 3),
        (Outcome.DEFERRED, 3),
    ]


async def test_a_death_is_replayed_once_and_the_next_death_again(
    dlq: Dlq, capsys: pytest.CaptureFixture[str]
) -> None:
    mail = dlq.mail()
    dlq.bury(mail)
    assert await dlq.replay() == 0
    assert await dlq.replay() == 0
    assert len(dlq.replays()) == 1
    assert "1 replayed before" in capsys.readouterr().out
    dlq.bury(mail, attempt=2)
    assert await dlq.replay() == 0
    assert [decode_headers(r.headers).attempt for r in dlq.replays()] == [2, 3]
    assert "1 earlier deaths of the same mail" in capsys.readouterr().out


async def test_a_mail_whose_second_death_is_not_meant_keeps_to_its_first_replay(dlq: Dlq) -> None:
    mail = dlq.mail()
    dlq.bury(mail)
    await dlq.replay()
    dlq.clock.advance(60)
    dlq.bury(mail, attempt=2)
    # Only the first death is in time, and that one was replayed.
    assert await dlq.replay(Selection(until_ms=dlq.clock.now_ms())) == 0
    assert len(dlq.replays()) == 1


@pytest.mark.parametrize(
    "outcome",
    [Outcome.ACCEPTED, Outcome.BOUNCED, Outcome.EXPIRED, Outcome.SUPERSEDED, Outcome.SUPPRESSED],
)
async def test_a_mail_with_a_final_outcome_is_left_alone(dlq: Dlq, outcome: Outcome) -> None:
    mail = dlq.mail()
    dlq.bury(mail)
    dlq.record(mail.id, outcome)
    assert await dlq.replay() == 0
    assert not dlq.replays()


@pytest.mark.parametrize("outcome", [Outcome.DEAD, Outcome.UNKNOWN, Outcome.DEFERRED])
async def test_a_mail_that_is_dead_or_held_is_replayed(dlq: Dlq, outcome: Outcome) -> None:
    mail = dlq.mail()
    dlq.bury(mail)
    dlq.record(mail.id, outcome)
    await dlq.replay()
    assert len(dlq.replays()) == 1


async def test_an_expired_mail_is_skipped_when_planning_and_when_its_turn_comes(
    dlq: Dlq, capsys: pytest.CaptureFixture[str]
) -> None:
    dlq.bury(dlq.mail("early@example.com"))
    dlq.clock.advance(600)
    dlq.bury(dlq.mail("late@example.com"))

    class SlowPerson:
        async def __call__(self, _question: str, _stop: asyncio.Event) -> bool:
            dlq.clock.advance(600)
            return True

    options = ReplayOptions(Selection(), superseding=(), ask=SlowPerson())
    writer = MemoryReplayWriter(dlq.topics)
    assert await replay_letters(dlq.session, writer, options, stop=asyncio.Event()) == 0
    assert not dlq.replays()
    assert "2 expired" in capsys.readouterr().out


async def test_a_newer_mail_in_the_dlq_or_on_the_topic_supersedes(dlq: Dlq) -> None:
    first, other = dlq.mail("a@example.com"), dlq.mail("b@example.com")
    dlq.bury(first)
    dlq.bury(other)
    dlq.clock.advance(1)
    newer = dlq.mail("a@example.com")
    dlq.bury(newer)
    dlq.publish(dlq.mail("b@example.com"))
    dlq.publish(dlq.mail("c@example.com"))
    await dlq.replay()
    assert [decode_headers(r.headers).mail_id for r in dlq.replays()] == [newer.id]


async def test_what_is_no_mail_is_not_replayed(
    dlq: Dlq, capsys: pytest.CaptureFixture[str]
) -> None:
    dlq.topics.put(NewRecord(NAMES.dlq, 0, b"k", b"{not json", (("mt-origin-offset", b"x"),)))
    dlq.topics.put(NewRecord(NAMES.dlq, 0, b"k", None))
    assert await dlq.replay() == 0
    assert "skip 2: 2 no mail" in capsys.readouterr().out
    assert not dlq.replays()


async def test_a_good_mail_with_bad_headers_is_replayed_without_them(dlq: Dlq) -> None:
    mail = dlq.mail()
    headers = (("mt-attempt", b"many"), ("mt-origin-offset", b"-"), ("mine", b"1"))
    dead = dlq.topics.put(NewRecord(NAMES.dlq, 2, b"k", mail.encode(), headers))
    await dlq.replay()
    (replay,) = dlq.replays()
    after = decode_headers(replay.headers)
    assert (after.mail_id, after.attempt, after.others) == (mail.id, 2, (("mine", b"1"),))
    assert after.origin is not None
    assert (after.origin.topic, after.origin.offset) == (NAMES.dlq, dead.offset)


async def test_after_a_failure_the_next_run_does_the_rest_and_nothing_twice(dlq: Dlq) -> None:
    mails = [dlq.mail(f"user{number}@example.com") for number in range(250)]
    for mail in mails:
        dlq.bury(mail)
    with pytest.raises(BrokerAway):
        await dlq.replay(writer=MemoryReplayWriter(dlq.topics, batches_left=1))
    assert len(dlq.replays()) == 100
    assert await dlq.replay() == 0
    ids = [decode_headers(record.headers).mail_id for record in dlq.replays()]
    assert len(ids) == 250
    assert set(ids) == {mail.id for mail in mails}


async def test_an_earlier_replay_can_store_nothing_more(dlq: Dlq) -> None:
    dlq.bury(dlq.mail())
    earlier = MemoryReplayWriter(dlq.topics)
    await earlier.open()
    assert await dlq.replay() == 0
    with pytest.raises(TakenOver):
        await earlier.store([NewRecord("mails", 0, b"k", b"v")])


async def test_a_replay_that_is_told_to_stop_stores_nothing_more(dlq: Dlq) -> None:
    dlq.bury(dlq.mail())
    stop = asyncio.Event()
    stop.set()
    assert await dlq.replay(stop=stop) == EXIT_INTERRUPTED
    assert not dlq.replays()


async def test_a_dry_run_and_a_no_change_nothing_and_shut_nobody_out(dlq: Dlq) -> None:
    dlq.bury(dlq.mail())
    before = list(dlq.topics.records)
    assert await dlq.replay(is_dry_run=True) == 0
    assert dlq.topics.opened == 0
    assert await dlq.replay(answer=False) == 0
    assert dlq.topics.records == before
    assert await dlq.replay(answer=True) == 0
    assert len(dlq.replays()) == 1


async def test_when_nothing_matches_the_code_is_1(dlq: Dlq) -> None:
    assert await dlq.replay() == 1
    dlq.bury(dlq.mail())
    assert await dlq.replay(Selection(ids=frozenset({uuid4()}))) == 1


async def test_a_letter_that_retention_removed_is_counted(
    dlq: Dlq, capsys: pytest.CaptureFixture[str]
) -> None:
    dlq.bury(dlq.mail("a@example.com"))
    dlq.bury(dlq.mail("b@example.com"))

    async def ask(_question: str, _stop: asyncio.Event) -> bool:
        dlq.topics.records.remove(dlq.topics.stored(NAMES.dlq)[0])
        return True

    options = ReplayOptions(Selection(), superseding=(), ask=ask)
    writer = MemoryReplayWriter(dlq.topics)
    assert await replay_letters(dlq.session, writer, options, stop=asyncio.Event()) == 0
    assert len(dlq.replays()) == 1
    assert "1 removed from the DLQ meanwhile" in capsys.readouterr().out


async def test_a_missing_topic_is_named(dlq: Dlq) -> None:
    dlq.topics.topics = frozenset({NAMES.main, NAMES.dlq})
    with pytest.raises(TopicMissing, match=r"mails\.status does not exist"):
        await dlq.replay()


async def test_a_report_holds_the_counts_for_a_program(dlq: Dlq, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    dlq.bury(dlq.mail("one@example.com"))
    settled = dlq.mail("two@example.com")
    dlq.bury(settled)
    dlq.record(settled.id, Outcome.ACCEPTED)
    options = ReplayOptions(Selection(), superseding=(), report=report)
    writer = MemoryReplayWriter(dlq.topics)
    assert await replay_letters(dlq.session, writer, options, stop=asyncio.Event()) == 0
    assert json.loads(report.read_text()) == {"matched": 2, "replayed": 1, "skipped": 1}


async def test_with_a_report_it_is_no_error_that_nothing_matches(dlq: Dlq, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ReplayOptions(
        Selection(classes=frozenset({"none"})), superseding=(), is_dry_run=True, report=report
    )
    writer = MemoryReplayWriter(dlq.topics)
    for topic in ("mails", NAMES.status):
        assert await dlq.session.reader.partitions(topic)
    assert await replay_letters(dlq.session, writer, options, stop=asyncio.Event()) == 0
    assert json.loads(report.read_text()) == {"matched": 0, "replayed": 0, "skipped": 0}
