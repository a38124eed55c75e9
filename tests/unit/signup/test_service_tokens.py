"""Service tokens: which are taken, and what a file of them must look like."""

import json
from pathlib import Path

import pytest

from mailtopic_signup.domain.tokens import Caller, TokenEntry, Tokens, TokensError, new_token

HASH = "0" * 64


def entry(**changes: object) -> dict[str, object]:
    return {"id": "billing-1", "sha256": HASH, "topics": ["receipts"]} | changes


def test_a_new_token_is_found_by_the_entry_that_was_made_with_it() -> None:
    token, made = new_token("billing-1", ["receipts", "mails"])
    tokens = Tokens.parse(Tokens([made]).dump())
    assert tokens.find(token) == Caller("billing-1", frozenset({"receipts", "mails"}))
    assert tokens.topics == {"receipts", "mails"}


def test_no_two_tokens_are_the_same() -> None:
    assert len({new_token("a", ["b"])[0] for _ in range(100)}) == 100


def test_several_tokens_of_a_service_are_valid_at_the_same_time() -> None:
    old, old_entry = new_token("billing-1", ["receipts"])
    new, new_entry = new_token("billing-2", ["receipts"])
    both = Tokens([old_entry, new_entry])
    assert [both.find(token) is not None for token in (old, new)] == [True, True]
    assert Tokens([new_entry]).find(old) is None


@pytest.mark.parametrize("wrong", ["", "x", "mailtopic_", "mailtopic_" + "A" * 43, "\ud800", "ü"])
def test_what_is_nobodys_token_is_nobodys(wrong: str) -> None:
    _, made = new_token("billing-1", ["receipts"])
    assert Tokens([made]).find(wrong) is None


@pytest.mark.parametrize("cut", [slice(0, -1), slice(1, None)])
def test_a_part_of_a_token_is_nobodys(cut: slice) -> None:
    token, made = new_token("billing-1", ["receipts"])
    assert Tokens([made]).find(token[cut]) is None
    assert Tokens([made]).find(token + "A") is None


def test_a_token_that_a_person_made_up_is_refused_although_its_hash_is_there() -> None:
    guessable = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"  # "password"
    made = TokenEntry(Caller("billing-1", frozenset({"receipts"})), guessable)
    assert Tokens([made]).find("password") is None


def test_neither_token_nor_hash_is_shown() -> None:
    token, made = new_token("billing-1", ["receipts"])
    shown = f"{made!r} {Tokens([made])!r}"
    assert "billing-1" in shown
    assert token not in shown
    assert made.sha256 not in shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"tokens": 7}',
        '{"tokens": [7]}',
        '{"tokens": [{}]}',
        json.dumps({"tokens": [entry(id=7)]}),
        json.dumps({"tokens": [entry(id="A b")]}),
        json.dumps({"tokens": [entry(id="")]}),
        json.dumps({"tokens": [entry(sha256=None)]}),
        json.dumps({"tokens": [entry(sha256="0" * 63)]}),
        json.dumps({"tokens": [entry(topics="receipts")]}),
        json.dumps({"tokens": [entry(topics=[])]}),
        json.dumps({"tokens": [entry(topics=["no topic"])]}),
        json.dumps({"tokens": [entry(topics=[7])]}),
        json.dumps({"tokens": [entry(), entry(sha256="1" * 64)]}),
        json.dumps({"tokens": [entry(), entry(id="billing-2")]}),
        "[" * 100_000,
    ],
)
def test_a_file_that_holds_something_else_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(text)
    with pytest.raises(TokensError) as refused:
        Tokens.load(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert HASH not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokensError, match=r"none\.json can't be read"):
        Tokens.load(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    with pytest.raises(TokensError, match="not text"):
        Tokens.load(tmp_path / "binary.json")


def test_no_token_at_all_lets_nobody_in() -> None:
    assert Tokens().find(new_token("a", ["b"])[0]) is None
    assert Tokens().topics == frozenset()
