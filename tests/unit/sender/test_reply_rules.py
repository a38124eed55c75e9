"""Rules of one's own: data that is checked before the first reply, and can't run for long."""

import json
import re
import time
from pathlib import Path

import pytest

from mailtopic_runtime import SettingError
from mailtopic_sender.domain.replies import ReplyClass, RuleError, classify, parse_rules
from mailtopic_sender.domain.replies.rules import CLASSES
from mailtopic_sender.settings import RepliesSettings

C = ReplyClass


def rules_of(*entries: object) -> str:
    return json.dumps(entries)


def test_a_rule_decides_before_codes_and_words() -> None:
    rules = parse_rules(rules_of({"match": "paradise lost", "class": "quota"}))
    said = (550, "5.1.1", "rcpt", "User unknown (Paradise LOST)")
    assert classify(*said) is C.HARD_BOUNCE
    assert classify(*said, rules=rules) is C.QUOTA


def test_a_rule_may_ask_for_a_code_a_phase_and_an_enhanced_code() -> None:
    rules = parse_rules(
        rules_of({"match": r"^5\.9\.\d sorry", "class": "sender", "code": 550, "phase": "rcpt"})
    )
    assert classify(550, "5.9.3", "rcpt", "Sorry", rules=rules) is C.SENDER
    assert classify(551, "5.9.3", "rcpt", "Sorry", rules=rules) is not C.SENDER
    assert classify(550, "5.9.3", "body", "Sorry", rules=rules) is not C.SENDER


def test_the_first_rule_that_matches_wins_and_no_rule_touches_a_success() -> None:
    rules = parse_rules(
        rules_of({"match": "x", "class": "greylisted"}, {"match": "x", "class": "content"})
    )
    assert classify(550, None, "rcpt", "x", rules=rules) is C.GREYLISTED
    assert classify(250, "2.0.0", "body", "x", rules=rules) is C.ACCEPTED


@pytest.mark.parametrize("kind", CLASSES)
def test_no_rule_blames_a_mail_that_was_not_offered(kind: ReplyClass) -> None:
    rules = parse_rules(rules_of({"match": "no", "class": kind.value}))
    for phase in ("connect", "ehlo", "tls", "auth"):
        assert classify(554, None, phase, "no", rules=rules).blames_relay


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not valid JSON"),
        ("[" * 10_000, "is not valid JSON"),
        ("{}", "must be a JSON list of rules"),
        (rules_of(*[{"match": "x", "class": "quota"}] * 201), "has more than 200 rules"),
        (rules_of("x"), "entry 1 must be an object with match and class"),
        (rules_of({"match": "x", "class": "quota"}, {"match": "x"}), "entry 2: class must be one"),
        (rules_of({"match": "x", "class": "accepted"}), "entry 1: class must be one of"),
        (rules_of({"match": "x", "class": ["quota"]}), "entry 1: class must be one of"),
        (rules_of({"class": "quota"}), "entry 1: match must be a regular expression"),
        (rules_of({"match": "(", "class": "quota"}), "entry 1: match is not a regular expression"),
        (rules_of({"match": "x" * 201, "class": "quota"}), "has more than 200 characters"),
        (rules_of({"match": "x?", "class": "quota"}), "must not match a text of nothing"),
        (rules_of({"match": "(a+)+b", "class": "quota"}), "match repeats too much"),
        (rules_of({"match": "(a|aa)*b", "class": "quota"}), "match repeats too much"),
        (rules_of({"match": "(a?){40}b", "class": "quota"}), "match repeats too much"),
        (rules_of({"match": ".*.*x", "class": "quota"}), "match repeats too much"),
        (rules_of({"match": "[)]x*[(]y*z", "class": "quota"}), "match repeats too much"),
        (rules_of({"match": "a?" * 30 + "b", "class": "quota"}), "match repeats too much"),
        (rules_of({"match": "x", "class": "quota", "code": 250}), "code must be a number from"),
        (rules_of({"match": "x", "class": "quota", "code": True}), "code must be a number from"),
        (rules_of({"match": "x", "class": "quota", "phase": "quit"}), "phase must be one of"),
        (rules_of({"match": "x", "class": "quota", "cod": 550}), "only match, class, code, phase"),
    ],
)
def test_a_rule_that_cannot_be_used_is_named(text: str, problem: str) -> None:
    with pytest.raises(RuleError, match=re.escape(problem)):
        parse_rules(text)


@pytest.mark.parametrize(
    "pattern",
    [
        "a.{0,40}b.{0,40}c",
        r"\bfoo\b.*bar",
        "(?:from|sender) (?:address )?refused",
        "x{3}y?z?",
        "[a-z]+ mailbox",
    ],
)
def test_an_honest_pattern_is_taken_and_is_done_at_once_with_any_text(pattern: str) -> None:
    rules = parse_rules(rules_of({"match": pattern, "class": "quota"}))
    began_s = time.process_time()
    for text in ("a" * 100_000, "ab" * 50_000, "foo " * 25_000):
        classify(550, None, "rcpt", text, rules=rules)
    assert time.process_time() - began_s < 5


def test_a_file_that_cannot_be_used_names_setting_file_and_entry(tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    settings = RepliesSettings(rules_file=file)
    with pytest.raises(SettingError, match=r"MAILTOPIC_REPLIES__RULES_FILE.*can't be read"):
        settings.rules()
    file.write_text(rules_of({"match": "x", "class": "bounce"}))
    with pytest.raises(SettingError, match=r"rules\.json: entry 1: class must be one of"):
        settings.rules()
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError, match="is not text in UTF-8"):
        settings.rules()
    file.write_text("\ufeff" + rules_of({"match": "x", "class": "quota"}), encoding="utf-8")
    assert len(settings.rules()) == 1
    assert RepliesSettings().rules() == ()
