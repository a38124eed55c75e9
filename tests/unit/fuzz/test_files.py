"""Files that people write and mount, as any bytes: what they say, or the documented refusal."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailtopic_contract import KeyRing, KeyRingError
from mailtopic_runtime import SettingError
from mailtopic_sender.adapters.dkim_files import load_keys
from mailtopic_sender.adapters.service_account import parse_service_account
from mailtopic_sender.adapters.template_files import load_templates
from mailtopic_sender.domain.replies import RuleError, parse_rules
from mailtopic_sender.relays import parse_relays
from mailtopic_signup.domain.code import PepperError, Peppers
from mailtopic_signup.domain.tokens import Tokens, TokensError, new_token
from mailtopic_signup.recipients import load_domains
from support.fuzzing import FUZZ_S, Targets, fuzz_target

_DEEP = b"[" * 100_000
_BIG = b"9" * 5_000
_PEM = generate_private_key(65537, 2048).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)
_KEYS = b'{"active": "k1", "keys": {"k1": "' + b"QUFB" * 11 + b'"}}'


def _read(
    load: Callable[[Path], object], errors: type[Exception], place: Path, data: bytes
) -> None:
    """It is read, or refused in one short line of the documented kind."""
    place.write_bytes(data)
    said = ""
    try:
        load(place)
    except errors as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 1_000


def _text(load: Callable[[str], object]) -> Callable[[Path], object]:
    return lambda place: load(place.read_bytes().decode("utf-8", "replace"))


def _token(place: Path) -> None:
    tokens = Tokens.load(place)
    assert tokens.find("mailtopic_" + "x" * 43) is None
    assert Tokens.parse(tokens.dump()).topics == tokens.topics


_LOADS: Mapping[str, tuple[Callable[[Path], object], type[Exception], list[bytes]]] = {
    "token files": (
        _token,
        TokensError,
        [
            Tokens([new_token("billing-1", ["receipts"])[1]]).dump().encode(),
            b'{"tokens": []}',
            b'{"tokens": {"a": 1}}',
            b'{"tokens": [{"id": "a", "sha256": "b", "topics": [[]]}]}',
        ],
    ),
    "key rings": (KeyRing.load, KeyRingError, [_KEYS, b'{"active": "k1", "keys": {"k1": 1}}']),
    "peppers": (Peppers.load, PepperError, [_KEYS, b'{"active": [], "keys": {}}']),
    "service accounts": (
        _text(parse_service_account),
        ValueError,
        [
            json.dumps(
                {
                    "type": "service_account",
                    "client_email": "a@example.com",
                    "private_key": _PEM.decode(),
                    "token_uri": "https://example.com/token",
                }
            ).encode()
        ],
    ),
    "signing keys": (lambda place: load_keys([place.stem], place.parent), SettingError, [_PEM]),
    "reply rules": (
        _text(parse_rules),
        RuleError,
        [
            b'[{"match": "quota|full.{0,9}", "class": "rate", "code": 452, "phase": "rcpt"}]',
            b'[{"match": "(a{1,9}){1,9}", "class": "rate"}]',
        ],
    ),
    "relays": (
        _text(parse_relays),
        SettingError,
        [
            b'[{"name": "ses", "host": "mx.example.net", "username": "a", "password": "b"}]',
            b'[{"name": "b", "host": "192.0.2.1", "port": 465, "rate_limit": "14/s"}]',
        ],
    ),
    "domains": (load_domains, SettingError, ["example.com # one\nпочта.рф\n\n".encode()]),
    "templates": (
        lambda place: load_templates(place.parent),
        SettingError,
        [b"Your code: {code}"],
    ),
}


_COMMON = [
    *(b"", b"\xef\xbb\xbf{}", b"{}", b"null", b"1e999", b"NaN", b"\xff", b'"\\ud800"', _DEEP, _BIG),
    *(b'{"active": "a", "keys": ' + _DEEP, b'[{"code": ' + _BIG + b"}]"),
]


def _targets(directory: Path) -> Targets:
    (directory / "any.en.subject").write_bytes(b"Code")
    (directory / "any.en.html").write_bytes(b"<p>{code}</p>")
    place = directory / "any.en.text"
    return {
        name: (partial(_read, load, errors, place), partial(list, [*seeds, *_COMMON]))
        for name, (load, errors, seeds) in _LOADS.items()
    }


@pytest.mark.timeout(FUZZ_S + 120)
@pytest.mark.parametrize("target", _LOADS)
def test_any_file_is_read_or_refused(
    target: str, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    figure(fuzz_target(_targets(tmp_path), target))
