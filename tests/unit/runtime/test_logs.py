"""What a log line may say."""

import json
import logging
import re
from datetime import UTC, datetime
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_runtime import Blank, LogSettings, StateLog, configure_logging, get_logger
from mailtopic_runtime.log_lines import json_line, now, redact_addresses
from mailtopic_runtime.repeated_lines import json_form


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_event_is_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="json"))
    get_logger("mailtopic_example").info("mail.bounced", attempt=2)
    (line,) = lines(capsys)
    assert (line["event"], line["attempt"], line["level"]) == ("mail.bounced", 2, "info")


def test_what_looks_like_an_address_loses_its_local_part(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(LogSettings(format="json"))
    get_logger("mailtopic_example").warning("oops someone@b.test", who=["юзер@b.test"])
    logging.getLogger("library").warning("to %s", "other@b.test")
    text = capsys.readouterr().out
    assert not [name for name in ("someone", "юзер", "other") if name in text]


def test_an_errors_message_and_traceback_stay_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="json"))
    try:
        int("the code is 123456")
    except ValueError:
        get_logger("mailtopic_example").exception("mail.failed")
    text = capsys.readouterr().out
    assert "123456" not in text
    assert "Traceback" not in text
    assert json.loads(text)["error"] == "ValueError"
    assert text.count("\n") == 1


def test_what_an_error_came_from_is_named_and_not_quoted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(LogSettings(format="json"))

    def fail() -> None:
        try:
            dict[str, str]()["secret"]
        except KeyError as error:
            raise OSError("secret, too") from error

    with pytest.raises(OSError, match="too") as raised:
        fail()
    group = ExceptionGroup("tasks", [raised.value, ValueError("123456")])
    get_logger("mailtopic_example").error("failed", exc_info=group)
    text = capsys.readouterr().out
    line = json.loads(text)
    assert line["error"] == "ExceptionGroup"
    kinds = [cause.split(" at ")[0] for cause in line["causes"].split("; ")]
    assert kinds == ["OSError", "ValueError", "KeyError"]
    assert f"{__name__}:" in line["causes"]
    assert "secret" not in text
    assert "123456" not in text


def test_a_circle_of_causes_ends(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="json"))
    first, second = OSError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    get_logger("mailtopic_example").error("failed", exc_info=first)
    assert json.loads(capsys.readouterr().out)["causes"] == "ValueError at ?"


def test_libraries_speak_only_when_it_is_serious_and_aiokafka_never(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(LogSettings(level="debug", format="json"))
    logging.getLogger("library").info("chatter")
    logging.getLogger("aiokafka.producer").error("a record's value")
    logging.getLogger("library").warning("serious")
    assert [line["event"] for line in lines(capsys)] == ["serious"]


def test_a_state_is_logged_when_it_changes_and_only_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(LogSettings(format="json"))
    state = StateLog(get_logger("mailtopic_example"), "relay")
    state.up()
    for _ in range(3):
        state.down("connection refused", relay="main")
    reasons = [state.reason]
    for _ in range(3):
        state.up(relay="main")
    reasons.append(state.reason)
    assert reasons == ["connection refused", None]
    assert [line["event"] for line in lines(capsys)] == ["relay.unavailable", "relay.available"]


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(level="warning", format="json"))
    log = get_logger("mailtopic_example").bind(topic="mails")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d", topic="others")
    assert [(line["event"], line["topic"]) for line in lines(capsys)] == [
        ("c", "mails"),
        ("d", "others"),
    ]


def test_a_program_may_silence_a_part_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="json"))
    log = get_logger("mailtopic_example.adapters.noisy").bind(topic="mails")
    log.warning("before")
    logging.getLogger("mailtopic_example").setLevel(logging.ERROR)
    try:
        log.warning("silenced")
        log.error("serious")
    finally:
        logging.getLogger("mailtopic_example").setLevel(logging.NOTSET)
    assert [line["event"] for line in lines(capsys)] == ["before", "serious"]


def test_a_line_for_a_terminal_is_readable_and_holds_no_address_either(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(LogSettings(format="text"))
    get_logger("mailtopic_example").bind(topic="mails").warning("oops", who="someone@b.test")
    text = capsys.readouterr().out
    assert "oops" in text
    assert "topic=mails" in text
    assert "someone" not in text


def test_time_is_utc_to_the_microsecond(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="json"))
    before = datetime.now(UTC)
    get_logger("mailtopic_example").info("mail.accepted")
    (line,) = lines(capsys)
    time = str(line["time"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time)
    assert before <= datetime.fromisoformat(time) <= datetime.now(UTC)


class Word(StrEnum):
    ONE = "someone@b.test"


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.characters(categories=["Cs"]),  # lone surrogates, which no UTF-8 can hold
    st.emails(),
    st.sampled_from(Word),
    st.lists(st.emails()),
    st.uuids(),
)


@given(st.dictionaries(st.text(min_size=1), anything))
def test_a_line_says_what_it_was_given_but_for_addresses(fields: dict[str, object]) -> None:
    told = {
        key: value
        if value is None or isinstance(value, int | float)
        else redact_addresses(str(value))
        for key, value in fields.items()
    }
    line = json_line(fields)
    assert "\n" not in line
    assert json.loads(line) == told


_WORDS = st.text("abcdefXYZ0123456789-", min_size=1)


@given(
    fixed=st.text(),
    word=_WORDS,
    number=st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    tenths=st.floats(0, 1e6),
)
def test_a_repeated_line_says_what_a_single_one_does(
    fixed: str, word: str, number: float, tenths: float
) -> None:
    form = json_form({"a%": fixed, "b": Blank.WORD, "c": Blank.NUMBER, "d": Blank.TENTHS})
    repeated = json.loads(form % (word, number, tenths, now()))
    single = json.loads(json_line({"a%": fixed, "b": word, "c": number, "d": tenths, "time": ""}))
    assert list(repeated) == list(single)
    assert repeated["d"] == pytest.approx(single["d"], abs=0.051)
    assert [repeated[name] for name in ("a%", "b", "c")] == [single["a%"], word, single["c"]]


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_repeated_line_follows_the_settings(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = get_logger("mailtopic_example").bind(topic="mails")
    line = log.repeated("mail.accepted", id=Blank.WORD, to="someone@b.test", ms=Blank.TENTHS)
    configure_logging(LogSettings(format=form))
    line.write("4711", 1.2499)
    logging.getLogger("mailtopic_example").setLevel(logging.WARNING)
    line.write("4712", 1.25)
    logging.getLogger("mailtopic_example").setLevel(logging.NOTSET)
    written = capsys.readouterr().out
    missing = [
        word
        for word in ("mails", "mail.accepted", "4711", "1.2", "***@b.test")
        if word not in written
    ]
    assert not missing
    assert "someone" not in written
    assert "1.2499" not in written
    assert "4712" not in written
