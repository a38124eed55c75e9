"""Opening sessions: TLS, its certificates, logins; nothing is ever downgraded."""

import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest

from mailtopic_runtime import SettingError
from mailtopic_sender.adapters.smtp_relay import SmtpRelay as SmtpSide
from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security
from mailtopic_sender.domain.replies import ReplyClass
from support.smtp_mails import mail, mailer_to
from support.smtp_relay import Authority, Fault, SmtpRelay

C = ReplyClass


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> Path:
    return authority.write_pem(tmp_path / "ca.pem")


async def test_a_mail_goes_over_starttls_and_arrives_byte_for_byte(
    authority: Authority, ca_file: Path
) -> None:
    async with (
        SmtpRelay(tls=authority.server_context("localhost")) as relay,
        mailer_to(RelaySettings("localhost", relay.port, ca_file=ca_file)) as mailer,
    ):
        first = mail("Bob+tag@пример.рф")
        result = await mailer.send(first)
        again = await mailer.send(first)
    assert result.reply_class is again.reply_class is C.ACCEPTED
    assert (result.relay, result.phase, result.smtp) == ("default", "body", "250 2.0.0")
    assert result.connect_s > 0
    assert result.transmit_s > 0
    received, second = relay.mails
    assert received.encrypted
    assert received.recipients == ("Bob+tag@xn--e1afmkfd.xn--p1ai",)
    assert received.sender == "no-reply@example.com"
    assert received.content == second.content
    assert received.message()["Subject"] == "Ваш одноразовый код"


async def test_tls_from_the_start(authority: Authority, ca_file: Path) -> None:
    context = authority.server_context("localhost")
    async with SmtpRelay(tls=context, implicit_tls=True) as relay:
        settings = RelaySettings("localhost", relay.port, security=Security.TLS, ca_file=ca_file)
        async with mailer_to(settings) as mailer:
            assert (await mailer.send(mail())).reply_class is C.ACCEPTED


async def test_the_system_trust_store_can_be_replaced_by_the_usual_variable(
    authority: Authority, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    async with (
        SmtpRelay(tls=authority.server_context("localhost")) as relay,
        mailer_to(RelaySettings("localhost", relay.port)) as mailer,
    ):
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED


@pytest.mark.parametrize(
    ("names", "expired", "words"),
    [
        (["localhost"], True, "expired"),
        (["mail.example.com"], False, "Hostname mismatch"),
    ],
)
@pytest.mark.parametrize("implicit", [False, True])
async def test_a_certificate_that_is_not_good_is_refused(
    authority: Authority,
    ca_file: Path,
    names: Sequence[str],
    *,
    expired: bool,
    words: str,
    implicit: bool,
) -> None:
    context = authority.server_context(*names, expired=expired)
    async with SmtpRelay(tls=context, implicit_tls=implicit) as relay:
        security = Security.TLS if implicit else Security.STARTTLS
        settings = RelaySettings("localhost", relay.port, ca_file=ca_file, security=security)
        async with mailer_to(settings) as mailer:
            result = await mailer.send(mail())
    assert result.reply_class is C.POLICY
    assert words in result.detail
    assert [line for _, line in relay.commands][1:] in ([], ["STARTTLS"])
    assert not relay.mails


async def test_a_certificate_of_a_stranger_is_refused(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority().write_pem(tmp_path / "stranger.pem")
    async with SmtpRelay(tls=authority.server_context("localhost")) as relay:
        settings = RelaySettings("localhost", relay.port, ca_file=stranger)
        async with mailer_to(settings) as mailer:
            result = await mailer.send(mail())
    assert (result.reply_class, result.phase) == (C.POLICY, "tls")
    assert "certificate not trusted" in result.detail


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_older_than_1_2_is_refused(authority: Authority, ca_file: Path) -> None:
    context = authority.server_context("localhost")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with SmtpRelay(tls=context) as relay:
        settings = RelaySettings("localhost", relay.port, ca_file=ca_file)
        async with mailer_to(settings) as mailer:
            result = await mailer.send(mail())
    # With an alert it is a matter of policy; this server just hangs up.
    assert result.reply_class in {C.POLICY, C.TRANSPORT}
    assert {line.split()[0] for _, line in relay.commands} == {"EHLO", "STARTTLS"}


async def test_without_starttls_nothing_is_sent_in_the_clear() -> None:
    async with SmtpRelay(users={"bob": "secret"}) as relay:
        settings = RelaySettings("localhost", relay.port, username="bob", password="secret")
        async with mailer_to(settings) as mailer:
            result = await mailer.send(mail())
    assert (result.reply_class, result.detail) == (C.POLICY, "the relay offers no STARTTLS")
    assert [line.split()[0] for _, line in relay.commands] == ["EHLO"]


async def test_a_refused_starttls_is_a_policy_matter(authority: Authority, ca_file: Path) -> None:
    async with SmtpRelay(tls=authority.server_context("localhost")) as relay:
        relay.fault(Fault("starttls", reply="502 5.5.1 no"))
        settings = RelaySettings("localhost", relay.port, ca_file=ca_file)
        async with mailer_to(settings) as mailer:
            result = await mailer.send(mail())
    assert (result.reply_class, result.smtp) == (C.POLICY, "502 5.5.1")


async def test_a_login_is_made_where_it_is_offered(authority: Authority, ca_file: Path) -> None:
    context = authority.server_context("localhost")
    users = {"bob": "päss word"}
    async with SmtpRelay(tls=context, users=users, require_login=True) as relay:
        settings = RelaySettings(
            "localhost", relay.port, ca_file=ca_file, username="bob", password="päss word"
        )
        async with mailer_to(settings) as mailer:
            assert (await mailer.send(mail())).reply_class is C.ACCEPTED
    assert relay.logins == ["bob"]
    assert relay.mails[0].login == "bob"


async def test_a_wrong_password_blames_the_relay_and_is_shown_nowhere(
    authority: Authority, ca_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = authority.server_context("localhost")
    async with SmtpRelay(tls=context, users={"bob": "right"}) as relay:
        settings = RelaySettings(
            "localhost", relay.port, ca_file=ca_file, username="bob", password="wr0ng-pass"
        )
        async with mailer_to(settings) as mailer:
            result = await mailer.send(mail())
            assert not mailer.is_available
    assert (result.reply_class, result.phase, result.smtp) == (C.AUTH, "auth", "535 5.7.8")
    assert "wr0ng-pass" not in caplog.text + repr(result) + repr(settings)


async def test_a_relay_without_auth_gets_mails_without_a_login() -> None:
    async with SmtpRelay() as relay:
        settings = RelaySettings(
            "localhost", relay.port, security=Security.NONE, username="bob", password="x"
        )
        async with mailer_to(settings) as mailer:
            assert (await mailer.send(mail())).reply_class is C.ACCEPTED


async def test_a_relay_that_wants_a_login_says_so_at_mail() -> None:
    async with SmtpRelay(require_login=True) as relay:
        settings = RelaySettings("localhost", relay.port, security=Security.NONE)
        async with mailer_to(settings) as mailer:
            result = await mailer.send(mail())
    assert (result.reply_class, result.phase, result.smtp) == (C.AUTH, "mail", "530 5.7.0")


async def test_a_host_without_an_address_is_a_transport_matter() -> None:
    settings = RelaySettings("relay.invalid", security=Security.NONE)
    async with mailer_to(settings) as mailer:
        result = await mailer.send(mail())
    assert (result.reply_class, result.phase) == (C.TRANSPORT, "connect")
    assert result.smtp is None


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
async def test_a_bad_ca_file_names_its_setting(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError, match="MAILTOPIC_SMTP__CA_FILE"):
        SmtpSide(RelaySettings("localhost", ca_file=path))
