"""What spam filters and a verifier of signatures say of the built-in mails.

``PYTHONPATH=tests .venv/bin/python -m benchmarks.judged`` asks SpamAssassin, rspamd and OpenDKIM,
as Debian packages them, and writes what they say into docs/benchmarks.md. It ends with 1 if one
of them complains. Nothing leaves the machine: rspamd asks a DNS server on loopback.
"""

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from benchmarks.side_by_side.places import ROOT
from benchmarks.side_by_side.report import with_section
from mailtopic_contract import parse_address
from mailtopic_sender.domain.dkim import DkimKey, DkimSigner
from mailtopic_sender.domain.message import MessageComposer
from mailtopic_sender.domain.templates import TemplateSet
from support.conditions import until
from support.dkim_keys import DOMAIN, pem, record, rsa_key
from support.dns_server import dns_server
from support.ports import free_port

GUIDE = ROOT / "docs/benchmarks.md"
PROGRAMS = {"spamassassin": "spamassassin", "rspamd": "rspamd", "opendkim": "opendkim"}
PACKAGES = "spamassassin rspamd opendkim"
MOST = 1.0
"""A SpamAssassin score from here on is a complaint; mails are spam from 5 on."""

_SENDER_IP = "192.0.2.25"


@dataclass(frozen=True, slots=True)
class Mail:
    """A built-in mail as it would be sent."""

    name: str
    content: bytes
    is_signed: bool


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a judge says.

    Attributes:
        score: None for a judge that gives none.
        said: the rules that fired, or the verdict.
    """

    score: float | None
    said: str
    is_complaint: bool


def main() -> None:
    """Ask everybody; write and print it."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        sys.exit(f"{', '.join(missing)} missing; on Debian: apt install {PACKAGES}")
    with tempfile.TemporaryDirectory() as folder:
        lines, complaints = asyncio.run(_judged(Path(folder)))
    GUIDE.write_text(with_section(GUIDE.read_text("utf-8"), "judged", lines), "utf-8")
    sys.stdout.write("\n".join([*lines, "", *complaints]) + "\n")
    sys.exit(1 if complaints else 0)


async def _judged(folder: Path) -> tuple[list[str], list[str]]:
    keys: dict[str, RSAPrivateKey | Ed25519PrivateKey] = {
        "r1": rsa_key(2048),
        "e1": Ed25519PrivateKey.generate(),
    }
    public = {name: record(key) for name, key in keys.items()}
    mails = _mails([DkimKey.from_pem(name, pem(key)) for name, key in keys.items()])
    lines = ["| mail | SpamAssassin | rspamd | OpenDKIM |", "|---|---|---|---|"]
    complaints = []
    async with _rspamd(folder, public) as ask_rspamd:
        for mail in mails:
            opinions = {
                "SpamAssassin": _spamassassin(folder, mail),
                "rspamd": await ask_rspamd(mail),
                "OpenDKIM": _opendkim(folder, mail, public),
            }
            cells = [_cell(opinion) for opinion in opinions.values()]
            lines.append(f"| {mail.name} | {' | '.join(cells)} |")
            complaints += [
                f"{judge} complains of {mail.name}: {opinion.said}"
                for judge, opinion in opinions.items()
                if opinion.is_complaint
            ]
    return lines, complaints


def _cell(opinion: Opinion) -> str:
    return opinion.said if opinion.score is None else f"{opinion.score:+.1f}: {opinion.said}"


def _mails(keys: Sequence[DkimKey]) -> list[Mail]:
    mails = []
    for signer in (None, DkimSigner(DOMAIN, keys)):
        composer = MessageComposer(
            TemplateSet(),
            from_name="Example",
            from_address=parse_address(f"no-reply@{DOMAIN}"),
            signer=signer,
        )
        for purpose in ("signup", "account-exists"):
            for locale in ("ru", "en"):
                message = composer.compose(
                    mail_id=uuid.uuid4(),
                    recipient=parse_address("someone@example.org"),
                    purpose=purpose,
                    locale=locale,
                    variables={"code": "271828"},
                    accepted_at_ms=time.time_ns() // 1_000_000,
                )
                name = f"{purpose}, {locale}{', signed' if signer else ''}"
                mails.append(Mail(name, message.content, is_signed=signer is not None))
    return mails


def _spamassassin(folder: Path, mail: Mail) -> Opinion:
    said = _run(folder, ["spamassassin", "--test-mode", "--local"], mail.content)
    status = re.search(
        r"^X-Spam-Status:.*?score=(-?[\d.]+).*?tests=(.*?) autolearn",
        said,
        re.MULTILINE | re.DOTALL,
    )
    if status is None:
        raise ValueError(f"SpamAssassin's answer isn't understood: {said[:300]}")
    score = float(status[1])
    return Opinion(score, re.sub(r"\s+", "", status[2]).replace(",", ", "), score >= MOST)


def _opendkim(folder: Path, mail: Mail, public: Mapping[str, str]) -> Opinion:
    if not mail.is_signed:
        return Opinion(None, "–", is_complaint=False)
    known, config, file = folder / "public", folder / "opendkim.conf", folder / "mail.eml"
    known.write_text(
        "".join(f"{name}._domainkey.{DOMAIN} {text}\n" for name, text in public.items())
    )
    config.write_text(f"TestPublicKeys {known}\nMode v\n")
    file.write_bytes(mail.content)
    said = _run(folder, ["opendkim", "-t", str(file), "-x", str(config), "-vv"], b"")
    passes = "verification (s=r1" in said and said.count("succeeded") >= 1 and "failed" not in said
    return Opinion(None, "pass" if passes else said.strip()[:200], not passes)


def _run(folder: Path, command: Sequence[str], given: bytes) -> str:
    program = _program(command[0])
    assert program is not None
    done = subprocess.run(  # noqa: S603 - the judges
        [program, *command[1:]],
        input=given,
        capture_output=True,
        check=False,
        timeout=120,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"},
    )
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _program(name: str) -> str | None:
    return shutil.which(PROGRAMS[name], path="/usr/sbin:/usr/bin")


class _Rspamd:
    """Asks a running rspamd, as a server would that has just got the mail from a relay."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    async def answers(self) -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{self._url}/ping")).is_success
        except httpx.TransportError:
            return False

    async def __call__(self, mail: Mail) -> Opinion:
        headers = {
            "IP": _SENDER_IP,
            "Helo": f"mail.{DOMAIN}",
            "Hostname": f"mail.{DOMAIN}",
            "From": f"no-reply@{DOMAIN}",
            "Rcpt": "someone@example.org",
        }
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(
                f"{self._url}/checkv2", content=mail.content, headers=headers
            )
        found = answer.raise_for_status().json()
        fired = sorted(
            name for name, symbol in found["symbols"].items() if symbol.get("score", 0) != 0
        )
        return Opinion(found["score"], ", ".join(fired), found["action"] != "no action")


@asynccontextmanager
async def _rspamd(folder: Path, public: Mapping[str, str]) -> AsyncIterator[_Rspamd]:
    zone = {
        f"{DOMAIN}.": {
            "A": [_SENDER_IP],
            "MX": [f"10 mail.{DOMAIN}."],
            "TXT": [f'"v=spf1 ip4:{_SENDER_IP} -all"'],
        },
        f"mail.{DOMAIN}.": {"A": [_SENDER_IP]},
        "25.2.0.192.in-addr.arpa.": {"PTR": [f"mail.{DOMAIN}."]},
        f"_dmarc.{DOMAIN}.": {"TXT": ['"v=DMARC1; p=reject"']},
    }
    for name, text in public.items():
        pieces = " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200))
        zone[f"{name}._domainkey.{DOMAIN}."] = {"TXT": [pieces]}
    async with dns_server(zone) as dns:
        port = free_port()
        config = folder / "rspamd.conf"
        config.write_text(_CONFIG.format(port=port, folder=folder))
        resolver = f'dns {{ nameserver = ["127.0.0.1:{dns.port}:1"]; timeout = 1s; }}\n'
        (folder / "resolver.inc").write_text(resolver)
        command = [str(_program("rspamd")), "-f", "-i", "-c", str(config)]
        for name in ("DBDIR", "RUNDIR", "LOGDIR"):
            command += ["--var", f"{name}={folder}"]
        process = await asyncio.create_subprocess_exec(*command)
        try:
            judge = _Rspamd(port)
            await until(judge.answers, "rspamd answers", timeout_s=180)
            yield judge
        finally:
            process.terminate()
            await process.wait()


_CONFIG = """
.include "$CONFDIR/common.conf"
options {{
  pidfile = "{folder}/rspamd.pid";
  .include "$CONFDIR/options.inc"
  .include(priority=1,duplicate=merge) "{folder}/resolver.inc"
}}
logging {{ type = "file"; filename = "{folder}/rspamd.log"; level = "warning"; }}
worker "normal" {{
  .include "$CONFDIR/worker-normal.inc"
  bind_socket = "127.0.0.1:{port}";
  count = 1;
}}
"""


if __name__ == "__main__":
    main()
