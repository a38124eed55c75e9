from uuid import uuid4

import pytest

from mailtopic_cli.dlq.letter import read_letter
from mailtopic_cli.dlq.ports import TopicRecord
from mailtopic_cli.dlq.selection import (
    Selection,
    parse_ids,
    parse_moment,
    parse_place,
    parse_rate,
)
from mailtopic_contract import ErrorInfo, LegacyDefaults, MailHeaders
from mailtopic_runtime import SettingError

NOW_MS = 1_790_000_000_000


@pytest.mark.parametrize(
    ("text", "moment_ms"),
    [
        ("10m", NOW_MS - 600_000),
        ("2d", NOW_MS - 172_800_000),
        ("2026-01-31T12:00:00Z", 1_769_860_800_000),
        ("2026-01-31T12:00:00", 1_769_860_800_000),
        ("2026-01-31T14:00:00+02:00", 1_769_860_800_000),
        ("2026-01-31", 1_769_817_600_000),
        (None, None),
    ],
)
def test_a_moment_is_an_age_or_a_time(text: str | None, moment_ms: int | None) -> None:
    assert parse_moment("--since", text, now_ms=NOW_MS) == moment_ms


@pytest.mark.parametrize("text", ["", "yesterday", "-5m", "5", "2026-13-01"])
def test_another_moment_is_refused_by_its_options_name(text: str) -> None:
    with pytest.raises(SettingError, match="--since: must be a time such as"):
        parse_moment("--since", text, now_ms=NOW_MS)


@pytest.mark.parametrize(("text", "rate"), [("50/s", 50), ("600/m", 10), ("7", 7), (None, None)])
def test_a_rate_is_mails_in_a_time(text: str | None, rate: float | None) -> None:
    assert parse_rate("--rate", text) == rate


@pytest.mark.parametrize("text", ["0", "0/s", "-1/s", "fast", "5/d", ""])
def test_another_rate_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="--rate: must be a rate such as"):
        parse_rate("--rate", text)


def test_a_place_is_partition_and_offset() -> None:
    assert parse_place("3/120") == (3, 120)
    assert parse_place("3") is None
    assert parse_place("a/1") is None
    assert parse_place("1/" + "9" * 30) is None


def test_an_id_is_a_uuid() -> None:
    mail_id = uuid4()
    assert parse_ids("--id", [str(mail_id)]) == {mail_id}
    with pytest.raises(SettingError, match="--id: must be a mail's id"):
        parse_ids("--id", ["7"])


def test_a_selection_takes_what_fits_all_its_parts() -> None:
    mail_id = uuid4()
    headers = MailHeaders(mail_id=mail_id, error=ErrorInfo("Poison", "RecordError", "bad"))
    record = TopicRecord("mails.dlq", 0, 1, NOW_MS, None, b"?", tuple(headers.encode()))
    letter = read_letter(record, LegacyDefaults(locale="en", max_age_ms=1))
    assert Selection().takes(letter)
    assert Selection(frozenset({"poison", "bug"}), frozenset({mail_id}), NOW_MS).takes(letter)
    assert not Selection(classes=frozenset({"bug"})).takes(letter)
    assert not Selection(ids=frozenset({uuid4()})).takes(letter)
    assert not Selection(since_ms=NOW_MS + 1).takes(letter)
    assert not Selection(until_ms=NOW_MS).takes(letter)
