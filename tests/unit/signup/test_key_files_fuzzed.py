"""Files of keys and tokens as editors and mistakes leave them: usable, or a line says why not."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailtopic_contract import KeyRing, KeyRingError
from mailtopic_signup.domain.code import PepperError, Peppers
from mailtopic_signup.domain.tokens import Tokens, TokensError, new_token
from support.signup_service import PEPPERS

KEYS = json.loads(KeyRing.generate().dump())
TOKENS = json.loads(Tokens([new_token("billing-1", ["receipts"])[1]]).dump())
FILES: dict[str, tuple[Callable[[Path], object], type[Exception], Any]] = {
    "keys": (KeyRing.load, KeyRingError, KEYS),
    "peppers": (Peppers.load, PepperError, PEPPERS),
    "tokens": (Tokens.load, TokensError, TOKENS),
}
every_kind = pytest.mark.parametrize("kind", FILES)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def check(kind: str, path: Path, content: bytes) -> object | None:
    """Read a file; what it holds, or None if it was refused as it should be."""
    load, refusal, _ = FILES[kind]
    path.write_bytes(content)
    try:
        return load(path)
    except refusal as error:
        said = str(error)
    assert "\n" not in said
    assert str(path) in said
    return None


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


@every_kind
@pytest.mark.parametrize(
    "mark", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n ", b""], ids=["bom", "bom-crlf", "none"]
)
def test_a_byte_order_mark_is_no_part_of_a_file(kind: str, mark: bytes, tmp_path: Path) -> None:
    assert check(kind, tmp_path / "file", mark + encoded(FILES[kind][2])) is not None


@every_kind
def test_another_encoding_is_refused(kind: str, tmp_path: Path) -> None:
    content = json.dumps(FILES[kind][2]).encode("utf-16")
    assert check(kind, tmp_path / "file", content) is None


@every_kind
@settings(deadline=None)
@given(value=json_values)
@example(value={"active": {}, "keys": {}})
@example(value={"active": [], "keys": {"k1": ""}})
@example(value={"tokens": [{"id": {}, "sha256": [], "topics": {}}]})
@example(value={"tokens": {"id": 1}})
def test_any_json_is_read_or_refused(
    kind: str, value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(kind, tmp_path_factory.getbasetemp() / f"{kind}.json", encoded(value))


@every_kind
@settings(deadline=None)
@given(value=json_values)
@example(value={})
@example(value=[])
def test_any_member_may_be_something_else(
    kind: str, value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"{kind}.json"
    for at in places(FILES[kind][2]):
        check(kind, path, encoded(replaced(FILES[kind][2], at, value)))


@every_kind
@pytest.mark.parametrize("seed", range(5))
def test_any_bytes_are_read_or_refused(kind: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)  # noqa: S311 - to be repeatable
    for _ in range(200):
        content = bytearray(encoded(FILES[kind][2]))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(content))
            content[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        check(kind, tmp_path / "file", bytes(content))


@pytest.mark.parametrize("key_id", ["", "ключ", "a b", "k\n", "k" * 65, "\x00", "\ud800"])
def test_an_id_that_no_record_can_name_is_refused(key_id: str, tmp_path: Path) -> None:
    key = next(iter(KEYS["keys"].values()))
    content = encoded({"active": key_id, "keys": {key_id: key}})
    assert check("keys", tmp_path / "file", content) is None


@pytest.mark.parametrize("key_id", ["", "k\n", "k" * 65, "\x00", "\ud800"])
def test_an_id_that_no_database_can_hold_is_refused(key_id: str, tmp_path: Path) -> None:
    key = next(iter(PEPPERS["keys"].values()))  # type: ignore[attr-defined]
    content = encoded({"active": key_id, "keys": {key_id: key}})
    assert check("peppers", tmp_path / "file", content) is None


def places(value: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    inner: list[tuple[Any, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [at, *(place for key, each in inner for place in places(each, (*at, key)))]


def replaced(value: Any, at: tuple[Any, ...], by: object) -> Any:
    if not at:
        return by
    copy = value.copy()
    copy[at[0]] = replaced(value[at[0]], at[1:], by)
    return copy
