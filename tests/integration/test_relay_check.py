"""`mailtopic-sender check` and `mailtopic relay check`: real programs, a real relay, a real DNS."""

import asyncio
import json
import os
import signal
import sys
import sysconfig
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailtopic_cli.adapters.resolver import Resolver
from mailtopic_cli.relay.dns_check import Sending, check_dns
from support.conditions import until
from support.dkim_keys import pem, record, rsa_key
from support.dns_server import SILENT, Zone, dns_server
from support.smtp_relay import Authority, Fault, SmtpRelay

SCRIPTS = Path(sysconfig.get_path("scripts"))
USER, PASSWORD = "noreply@example.test", "Hunter-22xyz"
KEY = rsa_key()


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def findings(self) -> list[dict[str, str]]:
        lines = [json.loads(line) for line in self.out.splitlines()]
        return [line for line in lines if "step" in line]

    def states(self) -> dict[str, str]:
        return {each["step"]: each["state"] for each in self.findings}

    def finding(self, step: str) -> dict[str, str]:
        return next(each for each in reversed(self.findings) if each["step"] == step)


async def run(program: str, *arguments: str, env: dict[str, str]) -> Outcome:
    process = await asyncio.create_subprocess_exec(
        SCRIPTS / program,
        *arguments,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    outcome = Outcome(process.returncode, out.decode(), err.decode())
    for secret in (PASSWORD, b64encode(PASSWORD.encode()).decode()):
        assert secret.lower() not in (outcome.out + outcome.err).lower()
    assert "Traceback" not in outcome.err
    return outcome


async def check(*arguments: str, env: dict[str, str]) -> Outcome:
    return await run("mailtopic-sender", "check", "--json", *arguments, env=env)


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def relay(authority: Authority) -> AsyncIterator[SmtpRelay]:
    context = authority.server_context("localhost")
    async with SmtpRelay(tls=context, users={USER: PASSWORD}, require_login=True) as running:
        yield running


@pytest.fixture
def env(relay: SmtpRelay, authority: Authority, tmp_path: Path) -> dict[str, str]:
    """The original consumer's variables, and neither Kafka nor a topic."""
    return {
        "MAIL_HOST": "localhost",
        "MAIL_PORT": str(relay.port),
        "MAIL_USER": USER,
        "MAIL_PASS": PASSWORD,
        "MAIL_FROM_NAME": "Example",
        "MAILTOPIC_SMTP__CA_FILE": str(authority.write_pem(tmp_path / "ca.pem")),
    }


async def test_each_step_of_a_relay_that_can_be_used_is_told_and_no_mail_is_sent(
    relay: SmtpRelay, env: dict[str, str]
) -> None:
    outcome = await check(env=env)
    assert (outcome.code, outcome.err) == (0, "")
    steps = "resolve connect greeting ehlo tls certificate login size pipelining smtputf8 sender"
    assert outcome.states() == dict.fromkeys(steps.split(), "ok")
    assert outcome.finding("login")["text"] == "logged in by PLAIN"
    assert "for localhost, until 3000-01-01" in outcome.finding("certificate")["text"]
    assert outcome.finding("size")["text"] == "limit: 10.0 MB a mail"
    assert relay.mails == []
    commands = [line for _, line in relay.commands]
    assert not any(line.upper().startswith(("RCPT", "DATA")) for line in commands)
    assert [line.split(":")[0] for line in commands[-3:]] == ["MAIL FROM", "RSET", "QUIT"]


async def test_what_is_shown_to_a_person_is_one_line_a_step(env: dict[str, str]) -> None:
    outcome = await run("mailtopic-sender", "check", env=env)
    lines = outcome.out.splitlines()
    assert lines[0] == "relay localhost"
    assert "  ok       login       logged in by PLAIN" in lines
    assert lines[-1] == "Every relay that was checked can be used."


async def test_one_mail_goes_to_the_address_that_is_named(
    relay: SmtpRelay, env: dict[str, str]
) -> None:
    outcome = await check("--send-to", "anna@example.net", env=env)
    assert outcome.code == 0
    assert outcome.states()["mail"] == "ok"
    (mail,) = relay.mails
    assert mail.recipients == ("anna@example.net",)
    body = mail.message().get_body(("plain",))
    assert body is not None
    assert "000000" in body.get_content()
    assert "anna@" not in outcome.out


@pytest.mark.parametrize(
    ("changes", "step", "advice"),
    [
        ({"MAIL_PASS": "wrong-one"}, "login", "MAILTOPIC_SMTP__USERNAME"),
        ({"MAILTOPIC_SMTP__CA_FILE": ""}, "tls", "MAILTOPIC_SMTP__CA_FILE"),
        ({"MAIL_HOST": "127.0.0.1"}, "tls", "MAILTOPIC_SMTP__HOST"),
        ({"MAIL_HOST": "nowhere.invalid"}, "resolve", "MAILTOPIC_SMTP__HOST"),
        ({"MAIL_PORT": "1"}, "connect", "MAILTOPIC_SMTP__PORT"),
        ({"MAILTOPIC_SMTP__SECURITY": "TLS"}, "tls", "MAILTOPIC_SMTP__SECURITY"),
    ],
)
async def test_a_step_that_fails_says_what_to_do(
    env: dict[str, str], changes: dict[str, str], step: str, advice: str
) -> None:
    outcome = await check(env=env | changes)
    assert outcome.code == 1
    last = outcome.findings[-1]
    assert (last["step"], last["state"]) == (step, "failed")
    assert advice in last["advice"]


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        (Fault("connect", reply="421 4.7.0 Too many connections"), "greeting"),
        (Fault("connect", drop=True), "greeting"),
        (Fault("ehlo", reply="554 5.7.1 Go away"), "ehlo"),
        (Fault("starttls", reply="454 4.7.0 not now"), "tls"),
        (Fault("mail", reply="550 5.7.60 SendAsDenied"), "sender"),
        (Fault("mail", drop=True), "sender"),
    ],
)
async def test_a_relay_that_refuses_is_quoted(
    relay: SmtpRelay, env: dict[str, str], fault: Fault, step: str
) -> None:
    relay.fault(fault)
    outcome = await check(env=env)
    assert outcome.code == 1
    last = outcome.findings[-1]
    assert (last["step"], last["state"]) == (step, "failed")
    assert last["advice"]
    if fault.reply:
        assert fault.reply.split()[-1] in last["text"]


async def test_a_relay_that_quotes_the_login_shows_none_of_it(
    relay: SmtpRelay, env: dict[str, str]
) -> None:
    plain = b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    single = b64encode(PASSWORD.encode()).decode()
    relay.fault(Fault("auth", reply=f"535 5.7.8 no {PASSWORD} {plain} {single} {USER}\x1b[2J"))
    outcome = await check(env=env)
    text = outcome.findings[-1]["text"]
    assert "535 5.7.8 no" in text
    assert plain not in text
    assert USER not in text
    assert "\x1b" not in outcome.out


async def test_a_silent_relay_is_given_up_in_time(relay: SmtpRelay, env: dict[str, str]) -> None:
    relay.fault(Fault("connect", reply=None))
    outcome = await check("--timeout", "0.5", env=env)
    assert outcome.code == 1
    last = outcome.findings[-1]
    assert (last["step"], last["state"]) == ("greeting", "failed")
    assert last["text"] == "no answer within 0.5 s"


async def test_one_mail_is_sent_by_the_first_of_several_relays_that_can_be_used(
    relay: SmtpRelay, env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    login = {"username": USER, "password_file": str(tmp_path / "password")}
    ca_file = env["MAILTOPIC_SMTP__CA_FILE"]
    good = {"host": "localhost", "port": relay.port, "ca_file": ca_file, **login}
    relays = [
        {"name": "away", "host": "localhost", "port": 1, **login},
        {"name": "first", **good},
        {"name": "second", **good},
    ]
    several = {"MAILTOPIC_RELAYS": json.dumps(relays)}
    outcome = await check("--send-to", "anna@example.net", env=several)
    assert outcome.code == 1
    about = [each["about"] for each in outcome.findings if each["step"] == "mail"]
    assert about == ["relay first"]
    assert len(relay.mails) == 1
    assert "port of away in MAILTOPIC_RELAYS" in outcome.findings[1]["advice"]
    only = await check("--relay", "second", env=several)
    assert only.code == 0
    assert {each["about"] for each in only.findings} == {"relay second"}
    wrong = await check("--relay", "third", env=several)
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == (
        "mailtopic-sender check: --relay: there is no relay of that name; there are: "
        "away, first, second\n"
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"MAIL_HOST": ""}, "MAIL_HOST"),
        ({"MAIL_USER": "apikey"}, "MAILTOPIC_FROM__ADDRESS"),
        ({"MAILTOPIC_SMTP__CA_FILE": "/nothing.pem"}, "MAILTOPIC_SMTP__CA_FILE"),
        ({"MAIL_PORT": "smtp"}, "MAIL_PORT"),
    ],
)
@pytest.mark.parametrize(
    "program", [("mailtopic-sender", "check"), ("mailtopic", "relay", "check")]
)
async def test_a_setting_that_cant_be_used_is_named_in_one_line(
    env: dict[str, str], changes: dict[str, str], named: str, program: tuple[str, ...]
) -> None:
    outcome = await run(*program, env=env | changes)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert named in outcome.err


GOOD: Zone = {
    "example.test.": {
        "TXT": ['"v=spf1 ip4:192.0.2.1 -all"'],
        "MX": ["10 mx.example.test."],
    },
    "2026a._domainkey.example.test.": {
        # As zones have long records: several strings.
        "TXT": [f'"{record(KEY)[:200]}" "{record(KEY)[200:]}"']
    },
    "_dmarc.example.test.": {"TXT": ['"v=DMARC1; p=reject"']},
}


@pytest.fixture
def signing(env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "2026a.pem").write_bytes(pem(KEY))
    return env | {
        "MAILTOPIC_DKIM__SELECTORS": "2026a",
        "MAILTOPIC_DKIM__KEYS_DIRECTORY": str(keys),
    }


async def relay_check(zone: Zone, env: dict[str, str], *arguments: str) -> tuple[int, Any]:
    async with dns_server(zone) as server:
        outcome = await run(
            "mailtopic",
            *("relay", "check", "--json", "--dns-server", f"127.0.0.1:{server.port}"),
            *("--dns-timeout", "1", *arguments),
            env=env,
        )
    assert outcome.err == ""
    return outcome.code, json.loads(outcome.out)


def of_dns(document: Any) -> dict[str, dict[str, str]]:
    return {
        each["step"]: each
        for each in document["findings"]
        if each["about"] == "DNS of example.test"
    }


async def test_relays_and_records_that_are_right_are_told_in_one_document(
    signing: dict[str, str],
) -> None:
    code, document = await relay_check(GOOD, signing)
    assert (code, document["ok"]) == (0, True)
    found = of_dns(document)
    assert {step: each["state"] for step, each in found.items()} == dict.fromkeys(
        ("spf", "dkim", "dmarc", "mx"), "ok"
    )
    assert "the key that the sender signs with" in found["dkim"]["text"]
    assert found["dmarc"]["text"] == "p=reject (_dmarc.example.test)"
    relay_steps = [e["step"] for e in document["findings"] if e["about"] == "relay localhost"]
    assert relay_steps[0] == "resolve"
    assert relay_steps[-1] == "sender"


def changed(name: str, records: dict[str, Sequence[str]] | str | None) -> Zone:
    zone: dict[str, Any] = dict(GOOD)
    if records is None:
        del zone[name]
    else:
        zone[name] = records
    return zone


OTHER_KEY = record(rsa_key())
LOOP = " ".join(f"a:host{number}.example.net" for number in range(11))


@pytest.mark.parametrize(
    ("zone", "step", "state", "text"),
    [
        (changed("example.test.", None), "spf", "warning", "there is no record"),
        (changed("example.test.", None), "mx", "warning", "no MX"),
        (changed("example.test.", {"MX": ["0 ."]}), "mx", "warning", "takes no mail"),
        (changed("example.test.", {"A": ["192.0.2.1"]}), "mx", "ok", "has an address"),
        (
            changed("example.test.", {"TXT": ['"v=spf1 -all"', '"v=spf1 ~all"']}),
            "spf",
            "failed",
            "several",
        ),
        (
            changed("example.test.", {"TXT": [f'"v=spf1 {LOOP[:120]}" "{LOOP[120:]} -all"']}),
            "spf",
            "failed",
            "11 look-ups",
        ),
        (
            changed("example.test.", {"TXT": ['"v=spf1 include:gone.example.net -all"']}),
            "spf",
            "failed",
            "gone.example.net, which has no SPF record",
        ),
        (changed("2026a._domainkey.example.test.", None), "dkim", "failed", "there is no record"),
        (
            changed(
                "2026a._domainkey.example.test.",
                {"TXT": [f'"{OTHER_KEY[:200]}" "{OTHER_KEY[200:]}"']},
            ),
            "dkim",
            "failed",
            "another key",
        ),
        (
            changed("2026a._domainkey.example.test.", {"TXT": ['"v=DKIM1; p="']}),
            "dkim",
            "failed",
            "revoked",
        ),
        (changed("_dmarc.example.test.", None), "dmarc", "warning", "there is no record"),
        (changed("_dmarc.example.test.", {"TXT": ['"v=DMARC1"']}), "dmarc", "failed", "no policy"),
    ],
)
async def test_a_record_that_is_missing_or_wrong_is_told(
    signing: dict[str, str], zone: Zone, step: str, state: str, text: str
) -> None:
    code, document = await relay_check(zone, signing)
    found = of_dns(document)[step]
    assert found["state"] == state
    assert text in found["text"]
    assert code == (1 if state == "failed" else 0)
    assert found["advice"] or state == "ok" or step in {"spf", "dmarc"}


async def test_the_record_that_is_advised_is_the_right_one(signing: dict[str, str]) -> None:
    _, document = await relay_check(changed("2026a._domainkey.example.test.", None), signing)
    assert record(KEY) in of_dns(document)["dkim"]["advice"]


async def test_a_dns_that_never_answers_is_a_warning_a_record(signing: dict[str, str]) -> None:
    names = ("example.test.", "_dmarc.example.test.", "2026a._domainkey.example.test.")
    code, document = await relay_check(dict.fromkeys(names, SILENT), signing)
    assert code == 0
    found = of_dns(document)
    assert {each["state"] for each in found.values()} == {"warning"}
    assert {each["text"] for each in found.values()} == {"not known: no answer in time"}


async def test_the_policy_of_the_domain_above_counts(env: dict[str, str]) -> None:
    zone: Zone = {
        "mail.example.test.": {"MX": ["10 mx.example.test."]},
        "_dmarc.example.test.": {"TXT": ['"v=DMARC1; p=quarantine"']},
    }
    _, document = await relay_check(
        zone, env | {"MAILTOPIC_FROM__ADDRESS": "noreply@mail.example.test"}
    )
    texts = [each["text"] for each in document["findings"] if each["step"] == "dmarc"]
    assert texts == ["p=quarantine (_dmarc.example.test)"]


async def test_a_key_that_the_relay_signs_with_is_looked_for_by_name(env: dict[str, str]) -> None:
    zone = changed(
        "pm._domainkey.example.test.", {"TXT": [f'"{record(KEY)[:200]}" "{record(KEY)[200:]}"']}
    )
    code, document = await relay_check(zone, env, "--dkim-selector", "pm")
    assert code == 0
    assert of_dns(document)["dkim"]["text"] == "pm._domainkey.example.test holds a key"
    code, document = await relay_check(zone, env, "--dkim-selector", "missing")
    assert code == 1
    code, document = await relay_check(zone, env)
    assert (code, of_dns(document)["dkim"]["state"]) == (0, "warning")


async def test_ctrl_c_ends_both_programs_without_a_word(
    relay: SmtpRelay, env: dict[str, str]
) -> None:
    relay.fault(Fault("connect", reply=None))
    process = await asyncio.create_subprocess_exec(
        *("env", "--default-signal=INT"),  # a shell's background jobs ignore it
        SCRIPTS / "mailtopic",
        *("relay", "check"),
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    await until(lambda: len(relay.links) == 1, "the relay is asked")
    os.killpg(process.pid, signal.SIGINT)
    async with asyncio.timeout(30):
        _, err = await process.communicate()
    assert process.returncode == 130
    assert err == b""
    await until(lambda: not relay.links, "the sender is gone")


async def test_without_a_sender_the_command_says_where_to_run_it(env: dict[str, str]) -> None:
    hide = (
        "import sys, importlib.util as u; f = u.find_spec\n"
        "import mailtopic_cli.relay.commands as c\n"
        "c.find_spec = lambda name: None if name == 'mailtopic_sender' else f(name)\n"
        "sys.argv[1:] = ['relay', 'check']\n"
        "from mailtopic_cli.__main__ import main; main()\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", hide),
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | env,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert process.returncode == 2
    assert b"mailtopic-sender check" in err


@pytest.mark.parametrize(
    ("host", "texts", "state", "says"),
    [
        ("smtp.office365.com", ["v=spf1 include:spf.protection.outlook.com -all"], "ok", "lets"),
        ("smtp.office365.com", ["v=spf1 include:all.example.net -all"], "ok", "lets"),
        ("smtp.office365.com", ["v=spf1 redirect=all.example.net"], "ok", "lets"),
        ("smtp.office365.com", ["v=spf1 mx -all"], "failed", "doesn't let"),
        ("smtp-relay.gmail.com", [], "failed", "there is no record"),
        ("smtp.sendgrid.net", ["v=spf1 mx -all"], "ok", "return path of its own"),
        ("smtp.sendgrid.net", [], "ok", "return paths of their own"),
        ("smtp.example.net", [], "warning", "there is no record"),
    ],
)
async def test_the_spf_record_must_let_the_relays_provider_send(
    host: str, texts: Sequence[str], state: str, says: str
) -> None:
    zone: Zone = {
        "example.test.": {"TXT": [f'"{text}"' for text in texts]} if texts else {},
        "all.example.net.": {"TXT": ['"v=spf1 include:spf.protection.outlook.com ~all"']},
        "spf.protection.outlook.com.": {"TXT": ['"v=spf1 ip4:192.0.2.0/24 -all"']},
    }
    async with dns_server(zone) as server:
        resolver = Resolver(f"127.0.0.1:{server.port}", timeout_s=1)
        found = await check_dns(Sending("example.test", [host], "example.test", {}), resolver)
    (spf,) = [each for each in found if each.step == "spf"]
    assert (spf.state, says in spf.text) == (state, True)
