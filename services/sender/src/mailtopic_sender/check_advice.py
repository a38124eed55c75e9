"""Advice for failed steps of a relay's check: one line each."""

from collections.abc import Callable

from mailtopic_sender.adapters.smtp_opening import NO_TOKEN
from mailtopic_sender.adapters.smtp_session import Answer
from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security
from mailtopic_sender.domain.replies import ReplyClass

_TLS_PORT = 465

SettingName = Callable[[str], str]
"""Returns the user's name for one of a relay's settings, such as host."""


def advice_for(step: str, answer: Answer, relay: RelaySettings, setting: SettingName) -> str:
    """Return the advice; steps are those that `mailtopic_sender.check` reports."""
    return _ABOUT[step](answer, relay, setting) if step in _ABOUT else _LOOK_AT_WORDS


def _about_name(_answer: Answer, _relay: RelaySettings, setting: SettingName) -> str:
    return f"check {setting('host')}: a host name alone, without scheme and port"


def _about_connection(_answer: Answer, _relay: RelaySettings, setting: SettingName) -> str:
    return (
        f"check {setting('port')} and firewalls: many networks block 25, and some 587 and 465; "
        "many providers listen on 2525 as well"
    )


def _about_greeting(answer: Answer, relay: RelaySettings, setting: SettingName) -> str:
    if answer.reply is not None:
        return "the relay refuses this host for now: too many connections, or it blocks its address"
    if relay.port == _TLS_PORT:
        return f"port 465 speaks TLS from the start: set {setting('security')} to TLS"
    return (
        f"nothing that speaks SMTP answered: check {setting('port')}; where TLS begins at once, "
        f"set {setting('security')} to TLS"
    )


def _about_tls(answer: Answer, relay: RelaySettings, setting: SettingName) -> str:
    if answer.reply_class is ReplyClass.POLICY and "certificate" in answer.problem:
        return (
            f"set {setting('host')} to a name that the certificate is for, or "
            f"{setting('ca_file')} to the authority that signed it"
        )
    if answer.reply_class is ReplyClass.POLICY:
        return "mails go to no relay without TLS 1.2 or newer: use the relay's submission port"
    if relay.security is Security.TLS:
        return f"where TLS doesn't begin at once, set {setting('security')} to StartTLS"
    return "the relay's TLS is broken: ask who runs it"


def _about_login(answer: Answer, _relay: RelaySettings, setting: SettingName) -> str:
    if answer.problem.startswith(NO_TOKEN):
        return f"check {setting('oauth')} and whether its token endpoint answers"
    if answer.reply_class is ReplyClass.POLICY:
        return f"the relay offers other mechanisms: check {setting('mechanisms')}"
    if answer.reply_class is not ReplyClass.AUTH:
        return _LOOK_AT_WORDS
    return (
        f"check {setting('username')} and the password: providers may want an app password, an "
        "SMTP key, a fixed user name, or OAuth (docs/guides/providers)"
    )


def _about_sender(answer: Answer, _relay: RelaySettings, setting: SettingName) -> str:
    if answer.reply_class is ReplyClass.AUTH:
        return f"the relay wants a login: set {setting('username')} and the password"
    return (
        "verify the From address or its domain at the provider, or set MAILTOPIC_FROM__ADDRESS to "
        "one that is verified"
    )


_LOOK_AT_WORDS = "the relay's words say why; docs/guides/relays.md explains them"
_ABOUT = {
    "resolve": _about_name,
    "connect": _about_connection,
    "greeting": _about_greeting,
    "tls": _about_tls,
    "login": _about_login,
    "sender": _about_sender,
}
