"""The keys that codes are stored and sealed under, and their rotation without a restart.

The files are checked periodically, because a mounted Secret changes in place. To rotate a key: add
the new one beside the old one, everywhere; then make it the active one; remove the old one when
nothing needs it any more (codes: after their validity; sealed mails: after the topic's retention).
Each step is one change of a file, and takes effect within RELOAD_S.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from mailtopic_contract import KeyRing, KeyRingError
from mailtopic_runtime import SettingError, StateLog, get_logger
from mailtopic_signup.domain.code import PepperError, Peppers
from mailtopic_signup.domain.tokens import Tokens, TokensError
from mailtopic_signup.outbox import MailMaker
from mailtopic_signup.settings import SealingSettings, SignupSettings

RELOAD_S = 10.0


@dataclass(slots=True)
class Keys:
    """The keys as last read, shared by all their users.

    An unusable file changes nothing, except for a line in the log: a service with yesterday's keys
    is better than none.
    """

    peppers: Peppers
    mails: MailMaker
    settings: SignupSettings
    tokens: Tokens | None = None
    """Permissions to send mails; None: sending is off for the life of the process."""
    every_s: float = RELOAD_S

    @classmethod
    def load(cls, settings: SignupSettings) -> "Keys":
        """Read the files.

        Raises:
            SettingError: one can't be read, or holds no keys.
        """
        mails = MailMaker(settings.topic, load_keyring(settings.sealing), settings.sealing.version)
        tokens_file = settings.mails.tokens_file
        tokens = load_tokens(tokens_file) if tokens_file else None
        return cls(load_peppers(settings.pepper.keys_file), mails, settings, tokens)

    def reload(self) -> None:
        """Read the files again.

        Raises:
            SettingError: one can't be used; none is changed then.
        """
        peppers = load_peppers(self.settings.pepper.keys_file)
        tokens_file = self.settings.mails.tokens_file
        tokens = load_tokens(tokens_file) if tokens_file else None
        self.mails.keyring = load_keyring(self.settings.sealing)
        self.peppers.adopt(peppers)
        if self.tokens is not None and tokens is not None:
            self.tokens.adopt(tokens)

    async def watch(self) -> None:
        """Reload periodically, until cancelled."""
        log = get_logger(__name__)
        state = StateLog(log, "keys")
        while True:
            await asyncio.sleep(self.every_s)
            before = repr((self.peppers, self.mails.keyring, self.tokens))
            try:
                self.reload()
            except SettingError as error:
                state.down(str(error))
                continue
            state.up()
            # Their reprs name the ids, and no key.
            after = repr((self.peppers, self.mails.keyring, self.tokens))
            if after != before:
                log.info("keys.changed", keys=after)


def load_keyring(settings: SealingSettings) -> KeyRing | None:
    """Return the ring that seals codes; None where sealing is switched off.

    Raises:
        SettingError: there is no file, or it holds no keys.
    """
    if not settings.enabled:
        return None
    name = "MAILTOPIC_SEALING__KEYS_FILE"
    if settings.keys_file is None:
        raise SettingError(
            name, "is required, or MAILTOPIC_SEALING__ENABLED=false leaves codes readable in Kafka"
        )
    try:
        return KeyRing.load(settings.keys_file)
    except KeyRingError as error:
        raise SettingError(name, str(error)) from None


def load_peppers(file: Path) -> Peppers:
    """Return the peppers.

    Raises:
        SettingError: the file can't be read, or holds no keys.
    """
    try:
        return Peppers.load(file)
    except PepperError as error:
        raise SettingError("MAILTOPIC_PEPPER__KEYS_FILE", str(error)) from None


def load_tokens(file: Path) -> Tokens:
    """Return the services' tokens.

    Raises:
        SettingError: the file can't be read, or holds something else.
    """
    try:
        return Tokens.load(file)
    except TokensError as error:
        raise SettingError("MAILTOPIC_MAILS__TOKENS_FILE", str(error)) from None
