import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_cli.dlq.masking import MAX_EXCERPT_CHARACTERS, excerpt, safe_text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (
            b'{"email":"jo@example.com","code":"123456"}',
            '{"email":"xx@xxxxxxx.xxx","code":"######"}',
        ),
        (b"jo%40example.com", "xx%##xxxxxxx.xxx"),
        (b'{"v":1,"code":"KJH2QW"', '{"v":#,"code":"xxx#xx"'),
        (b"<html><body>", "<html><body>"),
        ("почта".encode(), "xxxxx"),
        (b"\xff\x00\x1b[2J", "...[#x"),
        (b"", ""),
    ],
)
def test_only_the_contracts_words_and_the_shape_are_shown(value: bytes, shown: str) -> None:
    assert excerpt(value) == shown


@given(st.binary(max_size=2_000))
def test_no_digit_and_no_foreign_word_is_ever_shown(value: bytes) -> None:
    shown = excerpt(value)
    assert len(shown) <= MAX_EXCERPT_CHARACTERS + 1
    assert shown.rstrip("…").isascii()
    assert shown.isprintable()
    assert not any(char.isdigit() for char in shown)


@given(st.text(alphabet="ABCDEFGHJKLMNPQRSTUVWXYZ", min_size=4, max_size=10))
def test_a_code_of_letters_is_not_shown_either(code: str) -> None:
    assert code not in excerpt(f'{{"code":"{code}"'.encode())


def test_a_long_value_is_cut_and_says_so() -> None:
    assert excerpt(b"a" * 10_000) == "x" * MAX_EXCERPT_CHARACTERS + "…"


def test_words_of_a_header_lose_addresses_codes_and_control_characters() -> None:
    assert safe_text("jo@example.com has 123456\x1b[2J") == "*** has ***.[2J"
