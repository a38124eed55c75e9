"""What sealing binds: by the written specification, by its vectors, and against each change."""

import base64
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mailtopic_contract import (
    KeyRing,
    LegacyDefaults,
    MailRecord,
    MailSeal,
    RecordOrigin,
    SealingError,
    SealVersion,
    decode_record,
    new_record,
    open_variables,
)

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "docs/security/sealing-vectors.json").read_text()
)
RING = KeyRing.generate()
VERSIONS: tuple[SealVersion, ...] = (1, 2)

CHANGES: dict[str, object] = {
    "email": "mallory@example.com",
    "purpose": "account-exists",
    "locale": "en",
    "accepted_at": 1_790_000_000_001,
    "expires_at": 1_790_086_400_000,
}


def sealed_mail(version: SealVersion = 2, *, topic: str = "mails") -> MailRecord:
    return new_record(
        email="anna@example.com",
        variables={"code": "123456"},
        purpose="signup",
        locale="ru",
        accepted_at_ms=1_790_000_000_000,
        expires_at_ms=1_790_000_600_000,
        seal=MailSeal(RING, topic, version=version),
    )


def changed(mail: MailRecord, **fields: object) -> MailRecord:
    """The mail as someone without a key can write it."""
    value = json.dumps(json.loads(mail.encode()) | fields).encode()
    return read(value)


def read(value: bytes) -> MailRecord:
    return decode_record(
        value, origin=RecordOrigin("mails", 0, 0, 0), legacy=LegacyDefaults("ru", 1)
    )


def associated_data(record: dict[str, Any], topic: str) -> bytes:
    """What docs/security/sealing.md says, with nothing of ours."""
    if "v" not in record["sealed"]:
        return bytes(record["id"], "ascii")
    data = b"mailtopic-sealing-2"
    for text in (topic, *(record[name] for name in ("id", "email", "purpose", "locale"))):
        encoded = text.encode("utf-8")
        data += len(encoded).to_bytes(4, "big") + encoded
    return data + b"".join(record[at].to_bytes(8, "big") for at in ("accepted_at", "expires_at"))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["about"] for vector in VECTORS])
def test_a_vector_is_opened_by_us_and_by_the_specification(vector: dict[str, Any]) -> None:
    key, value = base64.b64decode(vector["key"]), vector["value"].encode()
    record = json.loads(value)
    sealed = record["sealed"]
    data = associated_data(record, vector["topic"])
    assert data.hex() == vector["associated_data_hex"]
    plain = AESGCM(key).decrypt(base64.b64decode(sealed["n"]), base64.b64decode(sealed["ct"]), data)
    assert json.loads(plain) == vector["variables"]
    seal = MailSeal(KeyRing(active=sealed["kid"], keys={sealed["kid"]: key}), vector["topic"])
    mail = read(value)
    assert open_variables(mail, seal) == vector["variables"]
    assert mail.encode() == value


@pytest.mark.parametrize("version", VERSIONS)
def test_what_we_seal_opens_by_the_specification(version: SealVersion) -> None:
    record = json.loads(sealed_mail(version).encode())
    sealed = record["sealed"]
    nonce, ciphertext = (base64.b64decode(sealed[name]) for name in ("n", "ct"))
    key = base64.b64decode(json.loads(RING.dump())["keys"]["k1"])
    plain = AESGCM(key).decrypt(nonce, ciphertext, associated_data(record, "mails"))
    assert json.loads(plain) == {"code": "123456"}


@pytest.mark.parametrize("field", CHANGES)
def test_version_2_refuses_what_version_1_lets_pass(field: str) -> None:
    seal, change = MailSeal(RING, "mails"), {field: CHANGES[field]}
    assert open_variables(changed(sealed_mail(1), **change), seal) == {"code": "123456"}
    with pytest.raises(SealingError, match="the mail was changed, or is another topic's"):
        open_variables(changed(sealed_mail(2), **change), seal)


@pytest.mark.parametrize("version", VERSIONS)
def test_another_id_is_refused_in_both_versions(version: SealVersion) -> None:
    copied = changed(sealed_mail(version), id=str(UUID(int=1)))
    with pytest.raises(SealingError, match="the mail was changed"):
        open_variables(copied, MailSeal(RING, "mails"))


def test_another_topics_mail_opens_only_where_that_topic_is_a_former_one() -> None:
    assert open_variables(sealed_mail(1, topic="old"), MailSeal(RING, "mails"))
    with pytest.raises(SealingError, match="another topic's"):
        open_variables(sealed_mail(topic="old"), MailSeal(RING, "mails"))
    renamed = MailSeal(RING, "mails", former_topics=("older", "old"))
    for topic in ("mails", "older", "old"):
        assert open_variables(sealed_mail(topic=topic), renamed) == {"code": "123456"}


@pytest.mark.parametrize(
    ("version", "claimed", "refusal"),
    [
        (2, {}, "can't be opened"),
        (1, {"v": 2}, "can't be opened"),
        (2, {"v": 1}, "can't be opened"),
        (2, {"v": 3}, "a version that is not known here"),
        (2, {"v": -1}, "a version that is not known here"),
    ],
)
def test_another_version_can_not_be_claimed(
    version: SealVersion, claimed: dict[str, int], refusal: str
) -> None:
    mail = sealed_mail(version)
    parts = {k: v for k, v in json.loads(mail.encode())["sealed"].items() if k != "v"}
    with pytest.raises(SealingError, match=refusal):
        open_variables(changed(mail, sealed=claimed | parts), MailSeal(RING, "mails"))


def test_version_1_can_be_switched_off() -> None:
    seal = MailSeal(RING, "mails", opens_version_1=False)
    assert open_variables(sealed_mail(2), seal) == {"code": "123456"}
    with pytest.raises(SealingError, match="version 1, which is switched off here"):
        open_variables(sealed_mail(1), seal)


@pytest.mark.parametrize("part", ["n", "ct"])
def test_changed_sealed_variables_do_not_open(part: str) -> None:
    mail = sealed_mail()
    parts = json.loads(mail.encode())["sealed"]
    with pytest.raises(SealingError):
        open_variables(
            changed(mail, sealed=parts | {part: "AAAA" + parts[part][4:]}), MailSeal(RING, "mails")
        )
