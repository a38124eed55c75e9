import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailtopic_sender.domain.dkim import (
    DkimKey,
    DkimKeyError,
    DkimSigner,
    relaxed_body,
    relaxed_field,
)
from support.dkim_keys import DOMAIN, pem, rsa_key

HEADER = b"From: a@example.com\r\nTo: b@example.org\r\nSubject: x\r\nX-Other: y\r\n"


def test_canonical_forms_are_those_of_the_rfc() -> None:
    # RFC 6376 §3.4.5
    assert relaxed_field(b"A: X") == b"a:X"
    assert relaxed_field(b"B : Y\t\r\n\tZ  ") == b"b:Y Z"
    assert relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n") == b" C\r\nD E\r\n"


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n", b" \t\r\n"])
def test_a_body_of_nothing_but_line_ends_is_empty(body: bytes) -> None:
    assert relaxed_body(body) == b""


def test_the_same_mail_is_signed_with_the_same_bytes_by_each_key() -> None:
    keys = [
        DkimKey.from_pem("r1", pem(rsa_key())),
        DkimKey.from_pem("e1", pem(Ed25519PrivateKey.generate())),
    ]
    signer = DkimSigner(DOMAIN, keys)
    fields = signer.sign(HEADER, b"hello\r\n", signed_at_s=1_790_000_000)
    assert fields == signer.sign(HEADER, b"hello\r\n", signed_at_s=1_790_000_000)
    assert fields != signer.sign(HEADER, b"hallo\r\n", signed_at_s=1_790_000_000)
    assert fields.count(b"DKIM-Signature: v=1;") == 2
    assert b"a=rsa-sha256;" in fields
    assert b"a=ed25519-sha256;" in fields
    assert fields.endswith(b"\r\n")
    assert all(len(line) <= 76 for line in fields.split(b"\r\n"))


def test_nobody_can_add_another_sender_subject_recipient_or_date() -> None:
    signer = DkimSigner(DOMAIN, [DkimKey.from_pem("e1", pem(Ed25519PrivateKey.generate()))])
    fields = relaxed_field(signer.sign(HEADER, b"hello\r\n", signed_at_s=0))
    (names,) = [tag[2:] for tag in fields.split(b"; ") if tag.startswith(b"h=")]
    signed = names.replace(b" ", b"").split(b":")
    assert {name: signed.count(name) for name in signed} == {
        b"from": 2,
        b"to": 2,
        b"subject": 2,
        b"date": 1,
        b"message-id": 1,
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "no unencrypted private key"),
        (b"-----BEGIN PRIVATE KEY-----\nMTIz\n-----END PRIVATE KEY-----\n", "no unencrypted"),
        (
            generate_private_key(SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            "neither RSA nor Ed25519",
        ),
    ],
)
def test_what_verifiers_would_not_take_is_refused(text: bytes, problem: str) -> None:
    with pytest.raises(DkimKeyError, match=problem):
        DkimKey.from_pem("s", text)


def test_a_short_rsa_key_is_told_and_no_key_is_shown() -> None:
    key = DkimKey.from_pem("s", pem(rsa_key(1024)))
    assert key.is_short
    assert "PRIVATE" not in repr(key)
    assert not DkimKey.from_pem("s", pem(rsa_key(2048))).is_short
