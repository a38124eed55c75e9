"""`mailtopic trace`: what it makes of topics and logs, over the shipped fake."""

import io
import json
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mailtopic_cli.__main__ import app
from mailtopic_cli.dlq.errors import TopicMissing
from mailtopic_cli.dlq.memory import MemoryTopics
from mailtopic_cli.dlq.ports import NewRecord
from mailtopic_cli.dlq.progress import Progress
from mailtopic_cli.trace.log_lines import mails_of, moments_of, parse_line, parse_wanted
from mailtopic_cli.trace.printing import document, lines_of
from mailtopic_cli.trace.reading import KafkaTopics, Known
from mailtopic_cli.trace.story import Moment, Source, Story, in_order, moment_of
from mailtopic_contract import (
    ErrorInfo,
    LegacyDefaults,
    MailHeaders,
    Outcome,
    RecordOrigin,
    StatusEvent,
    TopicNames,
    decode_record,
    new_record,
    parse_address,
    signup_tag,
)
from mailtopic_runtime import ManualClock

NAMES = TopicNames("mails")
LEGACY = LegacyDefaults(locale="en", max_age_ms=600_000)
MAIL = UUID("0b7e9a52-7d43-4f0e-9d8c-1f6b2a3c4d5e")
SIGNUP = "00112233445566778899aabbccddeeff"
TIME = "2026-09-21T14:13:21.500000Z"


@pytest.fixture
def topics() -> MemoryTopics:
    return MemoryTopics(ManualClock(), frozenset(NAMES.all))


async def search(topics: MemoryTopics, *ids: UUID) -> dict[UUID, Known]:
    reader = KafkaTopics(NAMES, LEGACY, topics, Progress(io.StringIO()))
    return await reader.search(frozenset(ids or (MAIL,)))


def put_mail(topics: MemoryTopics, *, topic: str = NAMES.main, headers: MailHeaders) -> None:
    now_ms = topics.clock.now_ms()
    record = new_record(
        email="somebody@example.com",
        variables={"code": "482913"},
        purpose="signup",
        locale="en",
        accepted_at_ms=now_ms,
        expires_at_ms=now_ms + 600_000,
        seal=None,
        mail_id=MAIL,
    )
    topics.put(NewRecord(topic, 1, b"k", record.encode(), tuple(headers.encode())))


def put_status(topics: MemoryTopics, outcome: Outcome, attempt: int, **fields: object) -> None:
    event = StatusEvent.model_validate(
        {
            "id": MAIL,
            "outcome": outcome,
            "at": topics.clock.now_ms(),
            "attempt": attempt,
            "purpose": "signup",
            **fields,
        }
    )
    topics.put(NewRecord(NAMES.status, 1, event.key, event.encode()))


def line(event: str, /, **fields: object) -> str:
    return json.dumps({"event": event, "id": str(MAIL), "time": TIME, **fields})


def story_of(known: Known, *more: Moment) -> Story:
    moments = in_order([*known.moments, *more])
    return Story(MAIL, "mails", moments, known.accepted_at_ms, known.expires_at_ms)


async def test_a_mail_that_was_deferred_and_delivered_is_told_in_order(
    topics: MemoryTopics,
) -> None:
    clock = topics.clock
    assert isinstance(clock, ManualClock)
    put_mail(topics, headers=MailHeaders(mail_id=MAIL))
    clock.advance(1)
    put_status(
        topics,
        Outcome.DEFERRED,
        1,
        smtp="451 4.7.1",
        relay="a",
        tier="10s",
        not_before=clock.now_ms() + 10_000,
    )
    clock.advance(10)
    put_status(topics, Outcome.ACCEPTED, 2, smtp="250 2.0.0", relay="a")
    story = story_of((await search(topics))[MAIL])
    assert [(m.event, m.attempt) for m in story.moments] == [
        ("accepted for delivery", None),
        ("deferred", 1),
        ("accepted", 2),
    ]
    due = "tier 10s, due 2026-09-21T14:13:31.000Z"
    assert list(lines_of(story, now_ms=clock.now_ms())) == [
        f"Mail {MAIL} of mails",
        "  2026-09-21T14:13:20.000Z              accepted for delivery, mails/1/0",
        f"  2026-09-21T14:13:21.000Z     +1.000s  attempt 1: deferred, a, 451 4.7.1, {due}",
        "  2026-09-21T14:13:31.000Z    +11.000s  attempt 2: delivered to the relay, a, 250 2.0.0",
        "Its outcome is final: delivered to the relay after 11.0 s, in 2 attempts.",
    ]
    (mail,) = json.loads(document([story]))["mails"]
    assert (mail["outcome"], mail["final"], mail["attempts"]) == ("accepted", True, 2)
    assert mail["seconds"] == 11.0


async def test_a_mail_that_waits_says_where_and_until_when(topics: MemoryTopics) -> None:
    put_mail(topics, headers=MailHeaders(mail_id=MAIL))
    now_ms = topics.clock.now_ms()
    waiting = story_of((await search(topics))[MAIL])
    assert list(lines_of(waiting, now_ms=now_ms))[-1] == (
        "No outcome is recorded yet; it is stored at mails/1/0."
    )
    put_status(topics, Outcome.DEFERRED, 1, tier="1m", not_before=now_ms + 60_000)
    deferred = story_of((await search(topics))[MAIL])
    assert list(lines_of(deferred, now_ms=now_ms + 1000))[-1] == (
        "It waits for attempt 2 in the tier 1m, due in 59.0 s."
    )
    assert "will not be sent" in list(lines_of(deferred, now_ms=now_ms + 600_000))[-1]


async def test_a_dead_mail_says_of_what_and_where_it_lies(topics: MemoryTopics) -> None:
    error = ErrorInfo("reputation", "Reply", "blocked somebody@example.com 482913", "550 5.7.1")
    put_mail(topics, topic=NAMES.dlq, headers=MailHeaders(mail_id=MAIL, error=error))
    put_status(topics, Outcome.DEAD, 1, smtp="550 5.7.1")
    text = "\n".join(lines_of(story_of((await search(topics))[MAIL]), now_ms=0))
    assert "stored in the DLQ, reputation, mails.dlq/1/0" in text
    assert "somebody" not in text
    assert "482913" not in text


async def test_a_mail_of_the_original_payload_is_found_by_the_id_that_it_got(
    topics: MemoryTopics,
) -> None:
    original = json.dumps({"email": "somebody@example.com", "code": "482913"}).encode()
    stored = topics.put(NewRecord(NAMES.main, 0, None, original))
    place = RecordOrigin(stored.topic, stored.partition, stored.offset, stored.timestamp_ms)
    mail_id = decode_record(original, origin=place, legacy=LEGACY).id
    assert mail_id in await search(topics, mail_id)
    assert not await search(topics, uuid4())


async def test_a_mail_that_an_earlier_version_sent_is_found_by_the_id_of_then(
    topics: MemoryTopics,
) -> None:
    original = json.dumps({"email": "somebody@example.com", "code": "482913"}).encode()
    stored = topics.put(NewRecord(NAMES.main, 0, None, original))
    place = RecordOrigin(stored.topic, stored.partition, stored.offset, stored.timestamp_ms)
    event = StatusEvent(
        id=place.former_id, outcome=Outcome.ACCEPTED, at=5000, attempt=1, purpose="unspecified"
    )
    topics.put(NewRecord(NAMES.status, 0, event.key, event.encode()))
    known = (await search(topics, place.former_id))[place.former_id]
    assert [moment.source for moment in known.moments] == [Source.STATUS, Source.MAIN]


async def test_an_address_leads_to_its_mails_and_to_no_others(topics: MemoryTopics) -> None:
    put_mail(topics, headers=MailHeaders(mail_id=MAIL))
    original = json.dumps({"email": "somebody@EXAMPLE.com", "code": "482913"}).encode()
    topics.put(NewRecord(NAMES.main, 2, None, original))
    topics.put(NewRecord(NAMES.main, 2, None, original.replace(b"somebody", b"nobody")))
    topics.put(NewRecord(NAMES.main, 0, b"k", b"somebody@example.com, but no mail"))
    reader = KafkaTopics(NAMES, LEGACY, topics, Progress(io.StringIO()))
    found = await reader.mails_to(parse_address("somebody@example.com"))
    assert MAIL in found
    assert len(found) == 2
    assert not await reader.mails_to(parse_address("Somebody@example.com"))


async def test_a_topic_that_is_missing_is_told() -> None:
    with pytest.raises(TopicMissing):
        await search(MemoryTopics(ManualClock(), frozenset()))


def test_an_outcome_that_log_and_kafka_tell_is_one_moment_with_all_details() -> None:
    told = StatusEvent(
        id=MAIL, outcome=Outcome.ACCEPTED, at=5000, attempt=1, purpose="signup", relay="first"
    )
    logged = Moment(5003, Source.LOG, "accepted", 1, {"transmit_ms": 12.5, "relay": "other"})
    (moment,) = in_order([logged, moment_of(told)])
    assert moment.at_ms == 5000
    assert moment.details == {"transmit_ms": 12.5, "relay": "first"}


def test_lines_of_kubectl_tell_the_pod_and_only_what_is_known() -> None:
    text = "[pod/mailtopic-sender-7d9-abcde/sender] " + line(
        "mail.deferred",
        attempt=1,
        relay="somebody@example.com",
        smtp="451 4.7.1",
        tier="10s",
        reply="482913",
        wait_ms=3.5,
        connect_ms="somebody@example.com",
        recipient="0123456789ab",
        signup="somebody@example.com",
        detail="code 482913 for somebody@example.com",
    )
    parsed = parse_line(text)
    assert parsed is not None
    assert parsed[1].details == {
        "pod": "mailtopic-sender-7d9-abcde",
        "smtp": "451 4.7.1",
        "tier": "10s",
        "wait_ms": 3.5,
        "recipient": "0123456789ab",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "{",
        "[]",
        "{}",
        '{"id": 5, "event": "mail.accepted", "time": "now"}',
        line("request.done"),
        line("mail.accepted").replace(TIME, "yesterday"),
        line("mail.accepted", padding="x" * 70_000),
        "{" * 50_000,
    ],
)
def test_lines_that_are_not_ours_are_passed_over(text: str) -> None:
    assert parse_line(text) is None


@given(st.text(max_size=200), st.dictionaries(st.text(max_size=10), st.text(max_size=30)))
def test_no_line_breaks_the_command_or_brings_an_address(text: str, more: dict[str, str]) -> None:
    parse_line(text)
    parsed = parse_line(line("mail.accepted", **{**more, "relay": text + "@example.com"}))
    if parsed is not None:
        assert "@" not in str(parsed[1].details.get("relay", ""))


def test_a_signups_id_leads_to_its_mails_wherever_its_line_stands() -> None:
    other = uuid4()
    lines = [
        line("mail.accepted", attempt=1, seconds=1.5),
        line("mail.queued", signup=signup_tag(SIGNUP)),
        line("mail.queued", signup=signup_tag("f" * 32)).replace(str(MAIL), str(other)),
    ]
    wanted = parse_wanted(SIGNUP)
    assert wanted is not None
    ids = mails_of(lines, wanted)
    assert MAIL in ids
    assert other not in ids
    assert [m.event for m in moments_of(lines, ids)[MAIL]] == ["accepted", "queued"]


def test_a_traces_id_leads_to_its_mails() -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    wanted = parse_wanted(trace_id)
    assert wanted is not None
    assert MAIL in mails_of([line("mail.accepted", trace_id=trace_id)], wanted)


@pytest.mark.parametrize("text", ["", "5", "somebody@example.com", "{" + str(MAIL) + "}", "9" * 31])
def test_what_is_no_id_is_refused_without_asking_anybody(text: str) -> None:
    assert parse_wanted(text) is None
    answer = CliRunner().invoke(app, ["trace", "--", text])
    assert answer.exit_code == 2
    assert "ID: must be a mail's id" in answer.output
    assert "somebody" not in answer.output


def test_logs_alone_tell_a_story_offline() -> None:
    logs = "\n".join([line("mail.accepted", attempt=1), "[something else]", line("mail.queued")])
    answer = CliRunner().invoke(app, ["trace", str(MAIL), "--offline", "--logs", "-"], input=logs)
    assert answer.exit_code == 0, answer.output
    assert "Its outcome is final: delivered to the relay, in 1 attempt." in answer.output


def test_an_id_of_which_nothing_is_known_is_told_with_code_1() -> None:
    command = ["trace", str(MAIL), "--offline", "--logs", "-", "--json"]
    answer = CliRunner().invoke(app, command, input="")
    assert answer.exit_code == 1
    assert answer.stdout == '{\n  "mails": []\n}\n'
    assert f"nothing is known of {MAIL}" in answer.stderr


@pytest.mark.parametrize(
    ("logs", "why"),
    [
        (
            f"2026-11-30T12:00:00Z [info] mail.accepted id={MAIL}\n" * 3,
            "MAILTOPIC_LOG__FORMAT=json",
        ),
        (line("mail.accepted").replace(str(MAIL), str(uuid4())), "none of its lines is about it"),
        ("", "it is empty"),
    ],
)
def test_logs_that_add_nothing_are_told_with_the_reason(logs: str, why: str) -> None:
    answer = CliRunner().invoke(app, ["trace", str(MAIL), "--offline", "--logs", "-"], input=logs)
    assert answer.exit_code == 1
    assert "--logs - adds nothing: " in answer.stderr
    assert why in answer.stderr


def test_logs_that_add_something_are_not_talked_about() -> None:
    command = ["trace", str(MAIL), "--offline", "--logs", "-"]
    assert CliRunner().invoke(app, command, input=line("mail.accepted")).stderr == ""


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--offline"], "--offline: needs --logs"),
        (["--offline", "--logs", "/nowhere/x.log"], "can't be read: No such file"),
        (["--since", "yesterday"], "--since"),
        (["--recipient"], "ID: is needed, or --recipient instead"),
    ],
)
def test_a_wrong_option_is_one_line_and_code_2(options: list[str], problem: str) -> None:
    answer = CliRunner().invoke(app, ["trace", str(MAIL), *options])
    assert answer.exit_code == 2
    assert problem in answer.stderr
    assert "Traceback" not in answer.output


@pytest.mark.parametrize(
    ("options", "given", "problem"),
    [
        ([], "", "ID: is needed"),
        (["--recipient", "--offline", "--logs", "x"], "a@example.com", "not with --offline"),
        (["--recipient", "--logs", "-"], "a@example.com", "not with --offline or --logs -"),
        (["--recipient"], "somebody 482913", "--recipient: "),
    ],
)
def test_a_recipient_is_no_argument_and_never_echoed(
    options: list[str], given: str, problem: str
) -> None:
    answer = CliRunner().invoke(app, ["trace", *options], input=given)
    assert answer.exit_code == 2
    assert problem in answer.stderr
    assert "somebody" not in answer.output
    assert "482913" not in answer.output
