"""A setting that can't be used ends the process at once: one line that names it, exit code 2."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailtopic_contract import KeyRing

SENDER = {
    "KAFKA_BROKERS": "127.0.0.1:9",
    "KAFKA_TOPIC": "mails",
    "MAIL_HOST": "127.0.0.1",
    "MAIL_PORT": "2525",
    "MAIL_USER": "noreply@example.test",
    "MAIL_PASS": "hunter22",
    "MAIL_FROM_NAME": "Example",
    "MAILTOPIC_METRICS__PORT": "0",
}
SIGNUP = {
    "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9",
    "MAILTOPIC_TOPIC": "mails",
    "MAILTOPIC_SEALING__KEYS_FILE": "keys.json",
    "MAILTOPIC_PEPPER__KEYS_FILE": "keys.json",
    "MAILTOPIC_HTTP__PORT": "0",
    "MAILTOPIC_DATABASE__URL": "sqlite+aiosqlite:///signup.db",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "keys.json").write_text(KeyRing.generate().dump())
    (tmp_path / "broken.json").write_text("{}")
    rules = '[{"match": "x", "class": "quota"}, {"match": "y", "class": "bounce"}]'
    (tmp_path / "rules.json").write_text(rules)
    (tmp_path / "broken.pem").write_text("no certificate")
    return tmp_path


@pytest.fixture
def taken_port() -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield str(taken.getsockname()[1])


async def last_words(module: str, settings: dict[str, str], directory: Path) -> tuple[int, str]:
    """Run a process until it ends; return its exit code and what it wrote to standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        env={"PATH": os.environ["PATH"], "HOME": str(directory)} | settings,
        cwd=directory,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, stderr.decode()


def without(settings: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in settings.items() if key != name}


def assert_names(result: tuple[int, str], program: str, setting: str) -> None:
    code, stderr = result
    assert code == 2, stderr
    assert stderr.count("\n") == 1, stderr
    assert stderr.startswith(f"{program}: "), stderr
    assert setting in stderr
    assert "hunter22" not in stderr


@pytest.mark.parametrize("missing", ["KAFKA_BROKERS", "KAFKA_TOPIC", "MAIL_HOST", "MAIL_PASS"])
async def test_a_sender_names_the_setting_that_is_missing(directory: Path, missing: str) -> None:
    result = await last_words("mailtopic_sender", without(SENDER, missing), directory)
    ours = {
        "KAFKA_BROKERS": "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS",
        "KAFKA_TOPIC": "MAILTOPIC_TOPIC",
        "MAIL_HOST": "MAILTOPIC_SMTP__HOST",
        "MAIL_PASS": "MAILTOPIC_SMTP__PASSWORD",
    }
    assert_names(result, "mailtopic-sender", ours[missing])


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("KAFKA_BROKERS", "nowhere", "KAFKA_BROKERS"),
        ("KAFKA_TOPIC", "my mails", "KAFKA_TOPIC"),
        ("MAIL_PORT", "smtp", "MAIL_PORT"),
        ("MAIL_PORT", "70000", "MAIL_PORT"),
        ("MAIL_USER", "somebody", "MAILTOPIC_FROM__ADDRESS"),
        ("MAILTOPIC_FROM__ADDRESS", "a@b.c\r\nX: y", "MAILTOPIC_FROM__ADDRESS"),
        ("MAILTOPIC_SMTP__SECURITY", "Maybe", "MAILTOPIC_SMTP__SECURITY"),
        ("MAILTOPIC_SMTP__CA_FILE", "nothing.pem", "MAILTOPIC_SMTP__CA_FILE"),
        ("MAILTOPIC_SMTP__CA_FILE", "broken.pem", "MAILTOPIC_SMTP__CA_FILE"),
        ("MAILTOPIC_SMTP__PASSWORD_FILE", "nothing", "MAILTOPIC_SMTP__PASSWORD_FILE"),
        ("MAILTOPIC_SEALING__KEYS_FILE", "nothing.json", "MAILTOPIC_SEALING__KEYS_FILE"),
        ("MAILTOPIC_SEALING__KEYS_FILE", "broken.json", "MAILTOPIC_SEALING__KEYS_FILE"),
        ("MAILTOPIC_DELIVERY__RETRY_TIERS", "1m,10s", "MAILTOPIC_DELIVERY__RETRY_TIERS"),
        ("MAILTOPIC_DELIVERY__RETRY_TIERS", "soon", "MAILTOPIC_DELIVERY__RETRY_TIERS"),
        ("MAILTOPIC_DELIVERY__MAX_IN_FLIGHT", "0", "MAILTOPIC_DELIVERY__MAX_IN_FLIGHT"),
        ("MAILTOPIC_TEMPLATE__DEFAULT_LOCALE", "fr", "MAILTOPIC_TEMPLATE__DEFAULT_LOCALE"),
        ("MAILTOPIC_REPLIES__RULES_FILE", "nothing.json", "MAILTOPIC_REPLIES__RULES_FILE"),
        ("MAILTOPIC_REPLIES__RULES_FILE", "rules.json", "rules.json: entry 2: class must be one"),
        ("MAILTOPIC_LOG__LEVEL", "loud", "MAILTOPIC_LOG__LEVEL"),
        ("MAILTOPIC_SMTP__HOTS", "relay", "MAILTOPIC_SMTP__HOTS"),
    ],
)
async def test_a_sender_names_the_setting_that_is_wrong(
    directory: Path, name: str, value: str, named: str
) -> None:
    result = await last_words("mailtopic_sender", SENDER | {name: value}, directory)
    assert_names(result, "mailtopic-sender", named)


async def test_a_sender_names_the_port_that_is_taken(directory: Path, taken_port: str) -> None:
    settings = SENDER | {"MAILTOPIC_METRICS__PORT": taken_port}
    result = await last_words("mailtopic_sender", settings, directory)
    assert_names(result, "mailtopic-sender", "MAILTOPIC_METRICS__PORT")


@pytest.mark.parametrize(
    "missing",
    [
        "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS",
        "MAILTOPIC_TOPIC",
        "MAILTOPIC_SEALING__KEYS_FILE",
        "MAILTOPIC_PEPPER__KEYS_FILE",
    ],
)
async def test_signup_names_the_setting_that_is_missing(directory: Path, missing: str) -> None:
    result = await last_words("mailtopic_signup", without(SIGNUP, missing), directory)
    assert_names(result, "mailtopic-signup", missing)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAILTOPIC_HTTP__PORT", "http"),
        ("MAILTOPIC_DATABASE__URL", "somewhere"),
        ("MAILTOPIC_DATABASE__URL", "mysql://root:hunter22@localhost/x"),
        ("MAILTOPIC_DATABASE__URL", "sqlite+aiosqlite:////nothing/here/signup.db"),
        ("MAILTOPIC_SEALING__KEYS_FILE", "broken.json"),
        ("MAILTOPIC_PEPPER__KEYS_FILE", "nothing.json"),
        ("MAILTOPIC_TOPIC", "my mails"),
    ],
)
async def test_signup_names_the_setting_that_is_wrong(
    directory: Path, name: str, value: str
) -> None:
    result = await last_words("mailtopic_signup", SIGNUP | {name: value}, directory)
    assert_names(result, "mailtopic-signup", name)


async def test_signup_names_the_port_that_is_taken(directory: Path, taken_port: str) -> None:
    settings = SIGNUP | {"MAILTOPIC_HTTP__PORT": taken_port}
    result = await last_words("mailtopic_signup", settings, directory)
    assert_names(result, "mailtopic-signup", "MAILTOPIC_HTTP__PORT")


@pytest.mark.parametrize("module", ["mailtopic_sender", "mailtopic_signup"])
async def test_help_lists_the_settings(directory: Path, module: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, "--help", cwd=directory, stdout=asyncio.subprocess.PIPE
    )
    stdout, _ = await process.communicate()
    assert process.returncode == 0
    assert b"MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS" in stdout
