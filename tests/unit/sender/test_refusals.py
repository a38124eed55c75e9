"""What a refusal is about: texts of real relays in refusals.tsv, and what must not sway them."""

import time
from pathlib import Path
from typing import NamedTuple

import pytest

from mailtopic_sender.domain.replies import (
    SESSION_PHASES,
    ReplyClass,
    classify,
    is_known_to_name_recipient,
)
from mailtopic_sender.domain.reply_text import split_enhanced


class Refusal(NamedTuple):
    code: int
    phase: str
    expected: ReplyClass
    text: str


def refusals() -> list[Refusal]:
    lines = Path(__file__).with_name("refusals.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [Refusal(int(code), phase, ReplyClass(kind), text) for code, phase, kind, text in rows]


def as_received(text: str) -> str:
    """What the session makes of a text: each octet beyond ASCII is a replacement character."""
    return text.encode().decode("ascii", "replace")


def class_of(refusal: Refusal, text: str, *, logged_in: bool = False) -> ReplyClass:
    enhanced, rest = split_enhanced(as_received(text))
    return classify(refusal.code, enhanced, refusal.phase, rest, logged_in=logged_in)


@pytest.mark.parametrize("refusal", refusals(), ids=lambda refusal: refusal.text[:60])
def test_a_refusal_blames_what_it_is_about_in_any_case_of_letters(refusal: Refusal) -> None:
    for text in (refusal.text, refusal.text.upper(), refusal.text.lower()):
        assert class_of(refusal, text) is refusal.expected


@pytest.mark.parametrize("refusal", refusals(), ids=lambda refusal: refusal.text[:60])
def test_no_name_in_a_refusal_decides_whose_fault_it_is(refusal: Refusal) -> None:
    for name in (
        "<sender-not-allowed@blocked.example>",
        "helo.denied@quota-exceeded-daily.example",
        "user-unknown@no-such-user.example",
        "https://sender.rejected.example/too-many-per-hour",
    ):
        assert class_of(refusal, f"{refusal.text} {name}") is refusal.expected


@pytest.mark.parametrize("refusal", refusals(), ids=lambda refusal: refusal.text[:60])
def test_no_login_makes_a_fault_of_ours_the_recipients(refusal: Refusal) -> None:
    found = class_of(refusal, refusal.text, logged_in=True)
    assert found.bounces == refusal.expected.bounces
    if refusal.phase in SESSION_PHASES:
        assert found.blames_relay


def test_every_hard_bounce_of_the_table_is_known_to_name_its_recipient() -> None:
    bounces = [each for each in refusals() if each.expected is ReplyClass.HARD_BOUNCE]
    unknown = []
    for each in bounces:
        enhanced, rest = split_enhanced(as_received(each.text))
        if not is_known_to_name_recipient(f"{each.code} {enhanced or ''}", rest):
            unknown.append(each.text)
    assert len(bounces) > 50
    assert len(unknown) <= 10, unknown


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "body"])
@pytest.mark.parametrize("code", [421, 450, 451, 452, 501, 550, 551, 552, 553, 554])
@pytest.mark.parametrize(
    "text",
    [
        "From not allowed",
        "Not allowed: the sender",
        "Your IP is not authorized",
        "sender domain: unverified",
        "The domain of the From address is not verified",
    ],
)
def test_what_is_said_of_the_sender_is_so_under_every_code(
    code: int, phase: str, text: str
) -> None:
    assert classify(code, None, phase, text) is ReplyClass.SENDER


@pytest.mark.parametrize(
    "text",
    [
        "a" * 32_000,
        "foo " * 8000,
        "not " * 8000,
        "sender " * 4000,
        "a." * 9999,
        '"a' * 9999,
        "quota " * 5000,
        "a@" * 9999,
        "<" * 9999,
        "your ip " * 4000,
        "\ufffd" * 9999,
        "no a " * 5000,
    ],
)
def test_no_text_of_a_relay_takes_long_to_understand(text: str) -> None:
    began_s = time.process_time()
    for code in (450, 550):
        classify(code, None, "rcpt", text)
    assert time.process_time() - began_s < 0.5


def test_a_text_without_end_is_read_in_its_beginning_only() -> None:
    words = "User unknown. " + "x" * 30_000 + " sender address rejected"
    assert classify(550, "5.1.1", "rcpt", words) is ReplyClass.HARD_BOUNCE
