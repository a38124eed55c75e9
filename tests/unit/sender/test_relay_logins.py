"""How a relay is logged in at: one line, exit code 2 and what to write for what can't be."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailtopic_runtime import SettingError, load_settings
from mailtopic_sender.adapters.smtp_settings import Mechanism, OAuthSettings, SmtpTimeouts
from mailtopic_sender.relays import open_relays, parse_relays
from mailtopic_sender.settings import SenderSettings

URL = "https://login.example.com/token"
BASE = {
    "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": "one:9092",
    "MAILTOPIC_TOPIC": "mails",
    "MAILTOPIC_FROM__ADDRESS": "noreply@example.com",
    "MAILTOPIC_SMTP__HOST": "smtp.example.com",
}
USER = {"MAILTOPIC_SMTP__USERNAME": "bob@example.com"}
OAUTH = "MAILTOPIC_SMTP__OAUTH__"
CLIENT = {f"{OAUTH}TOKEN_URL": URL, f"{OAUTH}CLIENT_ID": "id", f"{OAUTH}CLIENT_SECRET": "hidden"}
A = {"name": "a", "host": "a.example.com", "username": "bob"}
ENTRY = {"token_url": URL, "client_id": "id", "client_secret_file": "/x"}


def key(**changes: Any) -> str:
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    found = {
        "type": "service_account",
        "client_email": "robot@example.com",
        "private_key": pem.decode(),
        "token_uri": URL,
    }
    return json.dumps({name: value for name, value in (found | changes).items() if value})


def load(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> SenderSettings:
    for name, value in (BASE | env).items():
        if value:
            monkeypatch.setenv(name, value)
    return load_settings(SenderSettings, "mailtopic-sender")


def complaint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], env: dict[str, str]
) -> str:
    with pytest.raises(SystemExit) as ended:
        load(monkeypatch, env)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "hidden" not in line
    return line


@pytest.mark.parametrize(
    "host",
    [
        "smtp://relay.example.com",
        "https://relay.example.com",
        "relay.example.com:587",
        "relay.example.com/",
        "[2001:db8::1]",
        "[2001:db8::1]:587",
        "192.0.2.1:587",
        "bob@relay.example.com",
        "relay example.com",
        "-relay.example.com",
        "relay.example.com, other.example.com",
        "a" * 300,
    ],
)
def test_a_host_that_is_more_than_a_host_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    for name in ("MAILTOPIC_SMTP__HOST", "MAIL_HOST"):
        line = complaint(monkeypatch, capsys, {"MAILTOPIC_SMTP__HOST": "", name: host})
        assert line.startswith(f"mailtopic-sender: {name}: must be a host name or IP address alone")
        monkeypatch.delenv(name)
    with pytest.raises(SettingError, match=r"entry 1 \(a\): host: must be a host name"):
        parse_relays(json.dumps([{"name": "a", "host": host}]))


@pytest.mark.parametrize(
    "host",
    ["relay", "mail_relay", "smtp.example.com.", "192.0.2.1", "2001:db8::1", "пример.рф", "::1"],
)
def test_names_and_addresses_are_hosts(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    (relay,) = load(monkeypatch, {"MAILTOPIC_SMTP__HOST": host}).open_relays()
    assert relay.host == host


@pytest.mark.parametrize(
    ("env", "line"),
    [
        (
            {"MAILTOPIC_SMTP__MECHANISMS": "PLAIN,DIGEST-MD5"},
            "MAILTOPIC_SMTP__MECHANISMS: must be a list of PLAIN, LOGIN, CRAM-MD5, XOAUTH2,",
        ),
        (
            {"MAILTOPIC_SMTP__MECHANISMS": "PLAIN,plain"},
            "MAILTOPIC_SMTP__MECHANISMS: must differ from each other",
        ),
        (
            USER | {"MAILTOPIC_SMTP__PASSWORD": "hidden", "MAILTOPIC_SMTP__MECHANISMS": "XOAUTH2"},
            "MAILTOPIC_SMTP__MECHANISMS: names XOAUTH2, which takes a token: set MAILTOPIC_SMTP__O",
        ),
        (
            USER | CLIENT | {"MAILTOPIC_SMTP__MECHANISMS": "XOAUTH2,PLAIN"},
            "MAILTOPIC_SMTP__MECHANISMS: names PLAIN, which takes a password",
        ),
        (
            USER | CLIENT | {"MAILTOPIC_SMTP__PASSWORD": "hidden"},
            "MAILTOPIC_SMTP__PASSWORD: can't stand beside MAILTOPIC_SMTP__OAUTH__…",
        ),
        (USER | CLIENT | {"MAIL_PASS": "hidden"}, "MAILTOPIC_SMTP__PASSWORD: can't stand beside"),
        (CLIENT, "MAILTOPIC_SMTP__USERNAME: is required: the mailbox that tokens are for"),
        (USER, "MAILTOPIC_SMTP__PASSWORD: is required: a username needs a password"),
        (
            {"MAILTOPIC_SMTP__PASSWORD": "x"},
            "a password needs a username: set MAILTOPIC_SMTP__USERNAME",
        ),
        (
            USER | CLIENT | {f"{OAUTH}TOKEN_URL": "http://login.example.com/token"},
            f"{OAUTH}TOKEN_URL: must begin with https://",
        ),
        (
            USER | CLIENT | {f"{OAUTH}TOKEN_URL": "login.example.com"},
            f"{OAUTH}TOKEN_URL: must be the tok",
        ),
        (
            USER | CLIENT | {f"{OAUTH}TOKEN_URL": "https://"},
            f"{OAUTH}TOKEN_URL: must be the token end",
        ),
        (
            USER | CLIENT | {f"{OAUTH}TOKEN_URL": "https://h:x/"},
            f"{OAUTH}TOKEN_URL: must be the token",
        ),
        (
            USER | CLIENT | {f"{OAUTH}TOKEN_URL": "https://u:hidden@h/"},
            f"{OAUTH}TOKEN_URL: must be the",
        ),
        (USER | CLIENT | {f"{OAUTH}TOKEN_URL": ""}, f"{OAUTH}TOKEN_URL: is required"),
        (USER | CLIENT | {f"{OAUTH}CLIENT_ID": ""}, f"{OAUTH}CLIENT_ID: is required"),
        (
            USER | CLIENT | {f"{OAUTH}CLIENT_SECRET": ""},
            f"{OAUTH}CLIENT_SECRET: is required (or {OAUTH}REFRESH_TOKEN, {OAUTH}SERVICE_",
        ),
        (
            USER | CLIENT | {f"{OAUTH}TOKEN_FILE": "/x"},
            f"{OAUTH}CLIENT_ID: can't stand beside {OAUTH}TOKEN_F",
        ),
        (
            USER | CLIENT | {f"{OAUTH}SERVICE_ACCOUNT": "hidden"},
            f"{OAUTH}CLIENT_SECRET: can't stand beside {OAUTH}SERVICE_ACCOUNT",
        ),
        (USER | CLIENT | {f"{OAUTH}NONSENSE": "x"}, f"{OAUTH}NONSENSE: is not a setting"),
        ({"MAILTOPIC_SMTP__EHLO_NAME": "two words"}, "MAILTOPIC_SMTP__EHLO_NAME: must be this h"),
        ({"MAILTOPIC_SMTP__EHLO_NAME": "192.0.2.1"}, "MAILTOPIC_SMTP__EHLO_NAME: must be this h"),
        ({"MAILTOPIC_SMTP__EHLO_NAME": "[x]"}, "MAILTOPIC_SMTP__EHLO_NAME: must be this host"),
        ({"MAILTOPIC_SMTP__EHLO_NAME": "[::1]"}, "MAILTOPIC_SMTP__EHLO_NAME: must be this host"),
        ({"MAILTOPIC_SMTP__TIMEOUTS__DOT_S": "0"}, "MAILTOPIC_SMTP__TIMEOUTS__DOT_S: "),
        ({"MAILTOPIC_SMTP__TIMEOUTS__GREETING_S": "nan"}, "MAILTOPIC_SMTP__TIMEOUTS__GREETING_S"),
        ({"MAILTOPIC_SMTP__PIPELINING": "perhaps"}, "MAILTOPIC_SMTP__PIPELINING: "),
    ],
)
def test_a_bad_setting_is_named_with_what_to_write(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    env: dict[str, str],
    line: str,
) -> None:
    assert line in complaint(monkeypatch, capsys, env)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"oauth": ENTRY, "password_file": "/x"}, "password_file can't stand beside oauth"),
        ({"oauth": ENTRY, "username": None}, "username is required: the mailbox"),
        ({"oauth": {}}, "oauth.client_secret_file is required (or oauth.refresh_token_file,"),
        ({"oauth": ENTRY | {"token_url": "http://h/"}}, "oauth.token_url: must begin with https"),
        ({"oauth": ENTRY | {"client_secret": "hidden"}}, "oauth.client_secret is not known; known"),
        ({"oauth": ENTRY | {"service_account_file": "/x"}}, "oauth.client_secret_file can't stand"),
        ({"oauth": ENTRY, "mechanisms": ["LOGIN"]}, "mechanisms names LOGIN, which takes a pass"),
        ({"mechanisms": ["NTLM"], "username": None}, "mechanisms: must be a list of PLAIN"),
        ({"timeouts": {"dot": 1}}, "timeouts.dot is not known; known are block_s, command_s,"),
    ],
)
def test_a_bad_entry_is_named_with_what_to_write(entry: dict[str, Any], line: str) -> None:
    given = {name: value for name, value in (A | entry).items() if value is not None}
    with pytest.raises(SettingError) as error:
        parse_relays(json.dumps([given]))
    assert f"entry 1 (a): {line}" in str(error.value)
    assert "hidden" not in str(error.value)


def test_everything_of_the_only_relay_reaches_the_adapter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from file\n")
    env = {
        f"{OAUTH}CLIENT_SECRET": "",
        f"{OAUTH}CLIENT_SECRET_FILE": str(secret),
        f"{OAUTH}REFRESH_TOKEN": "refresh",
        f"{OAUTH}SCOPE": "one two",
        f"{OAUTH}CA_FILE": "/ca.pem",
        "MAILTOPIC_SMTP__MECHANISMS": "oauthbearer,XOAUTH2",
        "MAILTOPIC_SMTP__PIPELINING": "false",
        "MAILTOPIC_SMTP__EHLO_NAME": "[IPv6:2001:db8::1]",
        "MAILTOPIC_SMTP__TIMEOUTS__GREETING_S": "300",
    }
    (relay,) = load(monkeypatch, USER | CLIENT | env).open_relays()
    assert relay.oauth == OAuthSettings(
        token_url=URL,
        client_id="id",
        client_secret="from file",
        refresh_token="refresh",
        scope="one two",
        ca_file=Path("/ca.pem"),
        files={"client_secret": secret},
    )
    assert relay.mechanisms == (Mechanism.OAUTHBEARER, Mechanism.XOAUTH2)
    assert (relay.pipelining, relay.ehlo_name) == (False, "[IPv6:2001:db8::1]")
    assert relay.timeouts == SmtpTimeouts(greeting_s=300)
    assert relay.credential_files == (secret,)
    for hidden in ("from file", "refresh"):
        assert f"'{hidden}'" not in repr(relay)


def test_everything_of_an_entry_reaches_the_adapter(tmp_path: Path) -> None:
    account = tmp_path / "account.json"
    account.write_text(key())
    entry = A | {
        "oauth": {"service_account_file": str(account)},
        "mechanisms": ["XOAUTH2"],
        "pipelining": False,
        "timeouts": {"connect_s": 3},
        "ehlo_name": "mail.example.com",
    }
    (relay,) = open_relays(parse_relays(json.dumps([entry])))
    assert relay.oauth is not None
    assert relay.oauth.files == {"service_account": account}
    assert (relay.timeouts.connect_s, relay.mechanisms) == (3, (Mechanism.XOAUTH2,))
    assert (relay.pipelining, relay.ehlo_name) == (False, "mail.example.com")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "is not the key of a service account"),
        ('{"type": "authorized_user"}', "is not the key of a service account"),
        (key(client_email=""), "lacks client_email"),
        (key(private_key="hidden"), "holds a private_key that is no PEM key"),
        (key(token_uri="http://login.example.com/"), "must begin with https://"),
    ],
)
def test_a_service_accounts_key_is_looked_at_at_the_start(
    monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    settings = load(monkeypatch, USER | {f"{OAUTH}SERVICE_ACCOUNT": text})
    with pytest.raises(SettingError) as error:
        settings.open_relays()
    assert str(error.value).startswith(f"{OAUTH}SERVICE_ACCOUNT: {problem}")
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize("url", ["http://localhost:8080/t", "http://127.0.0.1/t", "http://[::1]/t"])
def test_without_tls_a_token_endpoint_is_on_this_host(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    (relay,) = load(monkeypatch, USER | CLIENT | {f"{OAUTH}TOKEN_URL": url}).open_relays()
    assert relay.oauth is not None
    assert relay.oauth.token_url == url
