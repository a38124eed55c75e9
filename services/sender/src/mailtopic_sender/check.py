"""`mailtopic-sender check`: opens a session to each relay as a sender does, and prints each step.

No mail is sent unless a recipient is given, and Kafka isn't needed. Replies are shown without
addresses, long numbers and the login's secrets.
"""

import asyncio
import json
import re
import ssl
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from mailtopic_contract import Address
from mailtopic_runtime import (
    Finding,
    FindingPrinter,
    FindingState,
    LogSettings,
    SettingError,
    SystemClock,
    configure_logging,
    get_logger,
)
from mailtopic_sender.adapters.dkim_files import load_keys
from mailtopic_sender.adapters.smtp_opening import SessionOpener, SessionRefused
from mailtopic_sender.adapters.smtp_session import Answer, SmtpSession
from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security
from mailtopic_sender.adapters.smtp_steps import (
    Connected,
    Greeted,
    LoggedIn,
    Offered,
    OpeningStep,
    Resolved,
    Secured,
)
from mailtopic_sender.bootstrap import open_composer
from mailtopic_sender.check_advice import advice_for
from mailtopic_sender.domain.envelope import checked_envelope
from mailtopic_sender.domain.message import Message
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.domain.reply_text import redact
from mailtopic_sender.domain.templates import TemplateError
from mailtopic_sender.settings import MailSettings

_OK, _WARNING, _FAILED = FindingState.OK, FindingState.WARNING, FindingState.FAILED
_SHORT_CERTIFICATE_DAYS = 14
_DAY_S = 86_400
_MEGABYTE = 1_000_000
_MOST_NAMES = 5
_TEST_PURPOSE, _TEST_CODE = "signup", "000000"
_LEAST_USER = 4
"""Length from which a username is hidden: it can be a token."""

_LONG_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{32,}")
"""A relay may quote a command, with a login or token in Base64."""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The command line's options.

    Attributes:
        as_json: write one JSON object per line, and a last one with what was checked.
        send_to: send one mail to this address, through the first usable relay.
        only: the name of the only relay to check; None for all.
        timeout_s: maximum time for each relay, seconds.
    """

    as_json: bool = False
    send_to: Address | None = None
    only: str | None = None
    timeout_s: float = 60.0


async def run_check(settings: MailSettings, options: CheckOptions) -> int:
    """Check the relays and write the findings; returns the exit code: 0, or 1 for a failure.

    Raises:
        SettingError: a setting can't be used; nothing was tried.
    """
    configure_logging(LogSettings(level="error"))
    relays = _chosen(settings.open_relays(), options.only)
    from_address = settings.from_address()
    message = _test_mail(settings, options.send_to)
    failed = 0
    report = _Report(as_json=options.as_json)
    checks = [_RelayCheck(relay, settings, report.add) for relay in relays]
    for check in checks:
        offered = message if not report.is_sent else None
        failed += not await check.run(from_address, offered, options.timeout_s)
        report.is_sent = report.is_sent or check.has_offered
    report.end(_summary(settings, relays, from_address), failed=failed, of=len(relays))
    return 1 if failed else 0


class _Report:
    """Writes findings as they arrive."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._printer = FindingPrinter(_say)
        self.is_sent = False

    def add(self, finding: Finding) -> None:
        if self._as_json:
            _say(json.dumps(finding.document()))
        else:
            self._printer.print(finding)

    def end(self, summary: dict[str, object], *, failed: int, of: int) -> None:
        if self._as_json:
            _say(json.dumps({**summary, "ok": not failed}))
        elif failed:
            _say(f"\n{failed} of {of} relays can't be used as it is set.")
        else:
            _say("\nEvery relay that was checked can be used.")


class _OneMail:
    """A `MessageSource` of one mail, and its result."""

    def __init__(self, message: Message) -> None:
        self._message: Message | None = message
        self.answer = Answer(ReplyClass.TRANSPORT, "mail", problem="the mail was not sent")

    def pull(self) -> Message | None:
        message, self._message = self._message, None
        return message

    def answered(self, message: Message, answer: Answer | None) -> None:
        del message
        if answer is not None:
            self.answer = answer


class _RelayCheck:
    """The check of one relay."""

    def __init__(
        self, relay: RelaySettings, settings: MailSettings, add: Callable[[Finding], None]
    ) -> None:
        """Load the certificates.

        Raises:
            SettingError: the CA file can't be used.
        """
        self._relay = relay
        self._opener = SessionOpener(relay, clock=SystemClock(), log=get_logger(__name__))
        self._is_one_of_several = settings.relays is not None
        self._add = add
        self._reached = "resolve"
        self.has_offered = False

    async def run(self, sender: Address, message: Message | None, timeout_s: float) -> bool:
        """Check it; returns whether it can be used."""
        session: SmtpSession | None = None
        try:
            async with asyncio.timeout(timeout_s):
                session = await self._opener.open(self._watch)
                return await self._use(session, sender, message)
        except SessionRefused as refused:
            return self._refused(refused.answer)
        except TimeoutError:
            self._tell(_FAILED, self._reached, f"no answer within {timeout_s:g} s")
            return False
        finally:
            if session is not None:
                session.close()
            await self._opener.close()

    async def _use(self, session: SmtpSession, sender: Address, message: Message | None) -> bool:
        self._tell_capabilities(session)
        self._reached = "sender"
        answer = await session.ask_sender(checked_envelope(sender))
        if answer.reply_class is not ReplyClass.ACCEPTED:
            return self._refused(answer, step="sender")
        self._tell(_OK, "sender", f"takes mails from {sender.domain}, as far as MAIL FROM tells")
        if message is None:
            return True
        self._reached, self.has_offered = "mail", True
        source = _OneMail(message)
        await session.stream(source)
        answer = source.answer
        if answer.reply_class is not ReplyClass.ACCEPTED:
            return self._refused(answer, step="mail")
        self._tell(_OK, "mail", f"taken: {self._words(answer)}")
        return True

    def _watch(self, step: OpeningStep) -> None:
        relay = self._relay
        match step:
            case Resolved(addresses):
                self._reached = "connect"
                self._tell(_OK, "resolve", f"{relay.host}: {', '.join(addresses)}")
            case Connected(address):
                self._reached = "tls" if relay.security is Security.TLS else "greeting"
                self._tell(_OK, "connect", f"{address} port {relay.port}")
            case Secured(tls):
                self._reached = "greeting" if relay.security is Security.TLS else "ehlo"
                self._tell_tls(tls)
            case Greeted(code, text):
                self._reached = "ehlo"
                self._tell(_OK, "greeting", f"{code} {self._safe(text)}")
            case Offered(extensions):
                self._reached = "login"
                self._tell(_OK, "ehlo", self._safe(_keywords(extensions)) or "no extensions")
            case LoggedIn(None):
                self._tell(
                    _WARNING,
                    "login",
                    "the relay offers no login, so none was made",
                    "a relay that lets nobody log in takes mails for its own users only, or from "
                    "addresses that it knows: 587 and 465 are the ports to log in",
                )
            case LoggedIn(mechanism):
                self._tell(_OK, "login", f"logged in by {mechanism}")

    def _tell_tls(self, tls: ssl.SSLObject | None) -> None:
        if tls is None:
            return
        cipher = tls.cipher()
        self._tell(_OK, "tls", f"{tls.version()}, {cipher[0] if cipher else 'unknown cipher'}")
        certificate: dict[str, Any] = tls.getpeercert() or {}
        names = [str(value) for _, value in certificate.get("subjectAltName", ())]
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        ends = str(certificate.get("notAfter", ""))
        days = (ssl.cert_time_to_seconds(ends) - time.time()) / _DAY_S if ends else 0.0
        is_short = days < _SHORT_CERTIFICATE_DAYS
        self._tell(
            _WARNING if is_short else _OK,
            "certificate",
            f"for {_printable(', '.join(names[:_MOST_NAMES]))}{more}, until {_date(ends)}",
            f"it ends in {max(0, round(days))} days: have the relay's certificate renewed"
            if is_short
            else "",
        )

    def _tell_capabilities(self, session: SmtpSession) -> None:
        relay, offered = self._relay, session.capabilities
        if relay.security is Security.NONE:
            self._tell(
                _WARNING,
                "tls",
                "none: mails and login can be read on the way",
                f"set {self._setting('security')} to StartTLS, or to TLS for port 465",
            )
        if relay.username is None:
            self._tell(_OK, "login", "no user is set, so nobody logs in")
        limit = f"{offered.max_octets / _MEGABYTE:.1f} MB a mail" if offered.max_octets else "none"
        self._tell(_OK, "size", f"limit: {limit}")
        self._tell(
            _OK,
            "pipelining",
            "offered" if offered.pipelining else "not offered: a mail costs more round trips",
        )
        self._tell(
            _OK,
            "smtputf8",
            "offered" if offered.smtputf8 else "not offered: addresses must be ASCII before the @",
        )

    def _refused(self, answer: Answer, *, step: str | None = None) -> bool:
        where = step or _step_of(answer, self._reached)
        advice = advice_for(where, answer, self._relay, self._setting)
        self._tell(_FAILED, where, self._words(answer), advice)
        return False

    def _words(self, answer: Answer) -> str:
        if answer.reply is None:
            return answer.problem
        said = f"{answer.reply.codes} {self._safe(answer.reply.text)}".strip()
        return f"{answer.problem}: {said}" if answer.problem else said

    def _setting(self, name: str) -> str:
        if not self._is_one_of_several:
            return f"MAILTOPIC_SMTP__{name.upper()}"
        return f"{name} of {self._relay.name} in MAILTOPIC_RELAYS"

    def _safe(self, text: str) -> str:
        """Make a relay's text safe to show: it may quote what was sent."""
        for secret in _secrets(self._relay):
            text = re.sub(re.escape(secret), "…", text, flags=re.IGNORECASE)
        return redact(_LONG_TOKEN.sub("…", " ".join(text.split())))

    def _tell(self, state: FindingState, step: str, text: str, advice: str = "") -> None:
        self._add(Finding(f"relay {self._relay.name}", step, state, text, advice))


def _step_of(answer: Answer, reached: str) -> str:
    """Return the step that failed: phases are coarser, and the first one has three steps."""
    phase_steps = {"ehlo": "ehlo", "tls": "tls", "auth": "login"}
    return phase_steps.get(answer.phase, reached)


def _chosen(relays: Sequence[RelaySettings], only: str | None) -> Sequence[RelaySettings]:
    if only is None:
        return relays
    chosen = [relay for relay in relays if relay.name == only]
    if not chosen:
        names = ", ".join(relay.name for relay in relays)
        raise SettingError("--relay", f"there is no relay of that name; there are: {names}")
    return chosen


def _test_mail(settings: MailSettings, recipient: Address | None) -> Message | None:
    composer = open_composer(settings)
    if recipient is None:
        return None
    try:
        return composer.compose(
            mail_id=uuid4(),
            recipient=recipient,
            purpose=_TEST_PURPOSE,
            locale=settings.template.default_locale,
            variables={"code": _TEST_CODE},
            accepted_at_ms=SystemClock().now_ms(),
        )
    except TemplateError as error:
        raise SettingError("--send-to", f"the mail can't be written: {error}") from None


def _summary(
    settings: MailSettings, relays: Sequence[RelaySettings], sender: Address
) -> dict[str, object]:
    dkim = settings.dkim
    keys = load_keys(dkim.selectors, dkim.keys_directory) if dkim.keys_directory else []
    return {
        "from_domain": sender.domain,
        "relays": [{"name": relay.name, "host": relay.host} for relay in relays],
        "dkim_domain": dkim.domain or sender.domain,
        "dkim_keys": [{"selector": key.selector, "public": key.public} for key in keys],
    }


def _secrets(relay: RelaySettings) -> Iterator[str]:
    """The credentials sent to a relay, in clear and as encoded for AUTH; the longest first."""
    user, password = relay.username or "", relay.password
    if not password:
        return
    for text in (f"\0{user}\0{password}", password):
        yield b64encode(text.encode()).decode().rstrip("=")
    yield password
    if len(user) >= _LEAST_USER:
        yield user


def _keywords(extensions: Mapping[str, str]) -> str:
    """The relay's extensions, with parameters only for AUTH. The size has a step of its own."""
    return ", ".join(
        f"{name.upper()} {parameters.upper()}" if name == "auth" else name.upper()
        for name, parameters in sorted(extensions.items())
    )


def _printable(text: str) -> str:
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)


def _date(text: str) -> str:
    if not text:
        return "an unknown day"
    return time.strftime("%Y-%m-%d", time.gmtime(ssl.cert_time_to_seconds(text)))


def _say(text: str) -> None:
    # Flush at once, to show where a slow step hangs.
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
