"""Codes and how they are stored."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_contract import parse_address
from mailtopic_signup.domain.challenge import address_key
from mailtopic_signup.domain.code import CodeBinding, PepperError, Peppers, new_code

BINDING = CodeBinding("c1", "signup", "anna@example.com")
OLD, NEW = b"o" * 32, b"n" * 32


@pytest.mark.parametrize("length", [6, 8, 10])
def test_a_code_has_its_length_in_digits(length: int) -> None:
    codes = {new_code(length) for _ in range(200)}
    assert len(codes) > 150
    assert all(len(code) == length and code.isdecimal() for code in codes)


def test_a_code_is_stored_as_a_mac_that_only_it_matches() -> None:
    peppers = Peppers(active="p1", keys={"p1": OLD})
    stored = peppers.mac("123456", BINDING)
    assert len(stored.digest) == 32
    assert peppers.matches(stored, "123456", BINDING)
    assert not peppers.matches(stored, "123457", BINDING)


@pytest.mark.parametrize(
    "other",
    [
        CodeBinding("c2", "signup", "anna@example.com"),
        CodeBinding("c1", "reset", "anna@example.com"),
        CodeBinding("c1", "signup", "bob@example.com"),
    ],
)
def test_a_code_is_worth_nothing_for_another_challenge_purpose_or_address(
    other: CodeBinding,
) -> None:
    peppers = Peppers(active="p1", keys={"p1": OLD})
    assert not peppers.matches(peppers.mac("123456", BINDING), "123456", other)


@given(parts=st.tuples(*[st.text(max_size=5)] * 4), moved=st.tuples(*[st.text(max_size=5)] * 4))
def test_no_two_bindings_share_a_mac(parts: tuple[str, ...], moved: tuple[str, ...]) -> None:
    peppers = Peppers(active="p1", keys={"p1": OLD})
    digests = {peppers.mac(each[3], CodeBinding(*each[:3])).digest for each in (parts, moved)}
    assert len(digests) == len({parts, moved})


def test_an_old_pepper_verifies_until_it_is_taken_away() -> None:
    stored = Peppers(active="p1", keys={"p1": OLD}).mac("123456", BINDING)
    rotated = Peppers(active="p2", keys={"p1": OLD, "p2": NEW})
    assert rotated.matches(stored, "123456", BINDING)
    assert rotated.mac("123456", BINDING).key_id == "p2"
    assert not Peppers(active="p2", keys={"p2": NEW}).matches(stored, "123456", BINDING)
    assert "nnn" not in repr(rotated)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"active": "p1"}',
        '{"active": "p1", "keys": {}}',
        '{"active": "p1", "keys": {"p1": "c2hvcnQ="}}',
        '{"active": "p1", "keys": {"p1": "***"}}',
        '{"active": 1, "keys": {"p1": "c2VjcmV0IG9mIDMyIGJ5dGVzLCBub3QgbW9yZSE="}}',
    ],
)
def test_a_bad_pepper_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "peppers.json"
    file.write_text(text)
    with pytest.raises(PepperError) as error:
        Peppers.load(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_spellings_of_one_mailbox_share_their_limits() -> None:
    keys = {address_key(parse_address(a)) for a in ("Anna@Example.com", "anna@example.COM")}
    assert len(keys) == 1
    assert address_key(parse_address("bob@example.com")) not in keys
