"""Codes and what they are made of."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_contract import parse_address
from mailtopic_signup.domain.code import (
    CodeBinding,
    CodeSeed,
    PepperError,
    Peppers,
    new_seed,
)
from mailtopic_signup.domain.mailbox import address_key, mailbox_key, mailbox_of

BINDING = CodeBinding("c1", "signup", "anna@example.com")
OLD, NEW = b"o" * 32, b"n" * 32
SEED = CodeSeed("p1", b"s" * 16)
PEPPERS = Peppers(active="p1", keys={"p1": OLD})


@pytest.mark.parametrize("length", [6, 8, 10, 16])
def test_a_code_has_its_length_in_digits_and_depends_on_its_seed(length: int) -> None:
    seeds = [CodeSeed("p1", new_seed()) for _ in range(200)]
    codes = {PEPPERS.code(seed, BINDING, length) for seed in seeds}
    assert len(codes) > 190
    assert all(code and len(code) == length and code.isdecimal() for code in codes)


def test_a_code_can_be_made_again_and_only_it_matches() -> None:
    code = PEPPERS.code(SEED, BINDING, 6)
    assert code == PEPPERS.code(SEED, BINDING, 6)
    assert code is not None
    assert PEPPERS.matches(SEED, BINDING, code)
    others = [f"{number:06}" for number in range(2000) if f"{number:06}" != code]
    assert not any(PEPPERS.matches(SEED, BINDING, other) for other in others)


def test_neither_the_seed_nor_the_pepper_alone_gives_the_code() -> None:
    other_pepper = Peppers(active="p1", keys={"p1": NEW})
    other_seed = CodeSeed("p1", b"t" * 16)
    assert (
        len(
            {
                PEPPERS.code(SEED, BINDING, 16),
                other_pepper.code(SEED, BINDING, 16),
                PEPPERS.code(other_seed, BINDING, 16),
            }
        )
        == 3
    )
    assert "ssss" not in repr(SEED)


@pytest.mark.parametrize(
    "other",
    [
        CodeBinding("c2", "signup", "anna@example.com"),
        CodeBinding("", "signup", "anna@example.com"),
        CodeBinding("c1", "reset", "anna@example.com"),
        CodeBinding("c1", "signup", "bob@example.com"),
    ],
)
def test_a_code_is_worth_nothing_for_another_challenge_purpose_or_address(
    other: CodeBinding,
) -> None:
    code = PEPPERS.code(SEED, BINDING, 16)
    assert code is not None
    assert not PEPPERS.matches(SEED, other, code)


@given(parts=st.tuples(*[st.text(max_size=5)] * 3), moved=st.tuples(*[st.text(max_size=5)] * 3))
def test_no_two_bindings_share_a_code(parts: tuple[str, ...], moved: tuple[str, ...]) -> None:
    codes = {PEPPERS.code(SEED, CodeBinding(*each), 16) for each in (parts, moved)}
    assert len(codes) == len({parts, moved})


def test_an_old_pepper_verifies_until_it_is_taken_away() -> None:
    code = PEPPERS.code(SEED, BINDING, 6)
    assert code is not None
    rotated = Peppers(active="p2", keys={"p1": OLD, "p2": NEW})
    assert rotated.matches(SEED, BINDING, code)
    assert rotated.active == "p2"
    gone = Peppers(active="p2", keys={"p2": NEW})
    assert gone.code(SEED, BINDING, 6) is None
    assert not gone.matches(SEED, BINDING, code)
    assert not gone.matches(SEED, BINDING, "")
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


@pytest.mark.parametrize(
    ("spellings", "is_one"),
    [
        (("Anna@Example.com", "anna@example.COM"), True),
        (("anna@example.com", "bob@example.com"), False),
        (("a.nna+x@gmail.com", "anna@googlemail.com"), True),
        (("anna+1@outlook.com", "anna@outlook.com"), True),
        (("a.nna@outlook.com", "anna@outlook.com"), False),
        # Elsewhere only the host knows.
        (("anna+1@example.com", "anna@example.com"), False),
        (("a.nna@example.com", "anna@example.com"), False),
        (("anna+1@example.com", "anna+2@example.com"), True),
        (("+@gmail.com", "+x@gmail.com"), False),
    ],
)
def test_spellings_of_one_mailbox_share_their_limits_and_codes(
    spellings: tuple[str, str],
    is_one: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    addresses = [parse_address(each) for each in spellings]
    assert (len({mailbox_key(each) for each in addresses}) == 1) is is_one
    assert (len({mailbox_of(each.normalised) for each in addresses}) == 1) is is_one


def test_a_suppression_is_of_one_address_without_regard_to_case() -> None:
    keys = [address_key(parse_address(f"{name}@gmail.com")) for name in ("anna", "Anna", "anna+1")]
    assert keys[0] == keys[1] != keys[2]
