"""What a log line may say."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from mailtopic_runtime import LogSettings, StateLog, configure_logging, get_logger


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)
    structlog.reset_defaults()


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
    assert '"error": "ValueError"' in text
    assert text.count("\n") == 1


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
