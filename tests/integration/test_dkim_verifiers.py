"""Signatures, judged by verifiers that nobody here wrote."""

import shutil
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from mailtopic_contract import parse_address
from mailtopic_sender.adapters.dkim_files import load_signer
from mailtopic_sender.domain.message import MessageComposer
from mailtopic_sender.domain.templates import Template, TemplateSet
from support.dkim_keys import DOMAIN, pem, record, rsa_key
from support.requirements import require

SELECTORS = ("r1", "e1")
# White space that relaxed canonicalisation takes out, and a last line without an end.
AWKWARD = Template("Re:  {name}", "a  b\t c \n\n.\n  {name} ", "<p>\n\n  {name}\n</p>\n\n")
TAMPERED = ((b"Subject:", b"Subject: Re:"), (b"123456", b"654321"), (b"To: ", b"To: eve@e.org, "))


def opendkim(tmp_path: Path, content: bytes) -> str:
    program = shutil.which("opendkim", path="/usr/sbin:/usr/bin")
    if program is None:
        require("opendkim", "the program opendkim is missing")
    config, mail = tmp_path / "opendkim.conf", tmp_path / "mail.eml"
    config.write_text(f"TestPublicKeys {tmp_path / 'public'}\nMode v\n")
    mail.write_bytes(content)
    done = subprocess.run(  # noqa: S603 - a fixed program on files of the test
        [program, "-t", str(mail), "-x", str(config), "-vv"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.stdout + done.stderr


@pytest.fixture
def composer(tmp_path: Path) -> MessageComposer:
    keys: dict[str, RSAPrivateKey | Ed25519PrivateKey] = {
        "r1": rsa_key(),
        "e1": Ed25519PrivateKey.generate(),
    }
    for selector, key in keys.items():
        (tmp_path / f"{selector}.pem").write_bytes(pem(key))
    public = [f"{name}._domainkey.{DOMAIN} {record(key)}\n" for name, key in keys.items()]
    (tmp_path / "public").write_text("".join(public))
    return MessageComposer(
        TemplateSet({("awkward", "ru"): AWKWARD}),
        from_name="Почта",
        from_address=parse_address(f"no-reply@{DOMAIN}"),
        signer=load_signer(DOMAIN, SELECTORS, tmp_path),
    )


def signed(composer: MessageComposer, purpose: str, to: str = "bob@example.org") -> bytes:
    return composer.compose(
        mail_id=uuid.uuid4(),
        recipient=parse_address(to),
        purpose=purpose,
        locale="ru",
        variables={"code": "123456", "name": "Иван  и\tМарья \r\n"},
        accepted_at_ms=time.time_ns() // 1_000_000,
    ).content


@pytest.mark.parametrize("purpose", ["signup", "account-exists", "awkward"])
def test_opendkim_verifies_both_signatures(
    tmp_path: Path, composer: MessageComposer, purpose: str
) -> None:
    said = opendkim(tmp_path, signed(composer, purpose))
    assert "dkim=pass (2048-bit key) header.d=example.com" in said
    assert "header.a=rsa-sha256 header.s=r1" in said
    assert "header.a=ed25519-sha256 header.s=e1" in said
    assert "dkim=fail" not in said


@pytest.mark.parametrize(("old", "new"), TAMPERED)
def test_opendkim_sees_what_was_changed_on_the_way(
    tmp_path: Path, composer: MessageComposer, old: bytes, new: bytes
) -> None:
    content = signed(composer, "signup")
    assert old in content
    said = opendkim(tmp_path, content.replace(old, new))
    assert "dkim=fail" in said
    assert "dkim=pass" not in said


def test_opendkim_sees_a_second_from(tmp_path: Path, composer: MessageComposer) -> None:
    content = signed(composer, "signup").replace(b"\r\nFrom:", b"\r\nFrom: eve@e.org\r\nFrom:")
    assert "dkim=pass" not in opendkim(tmp_path, content)
