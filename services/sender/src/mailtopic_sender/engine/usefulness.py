"""Whether a mail is still of use: the only place where that is decided."""

from collections.abc import Collection

from mailtopic_contract import MailRecord, Outcome
from mailtopic_runtime import Clock
from mailtopic_sender.engine.incoming import NewestCodes


class Usefulness:
    """Decides which mails are expired, and which a newer one replaces."""

    def __init__(self, superseding_purposes: Collection[str], *, clock: Clock) -> None:
        """Start with no mail known; mails of these purposes replace each other."""
        self._newest = NewestCodes(superseding_purposes)
        self._clock = clock

    def note(self, mail: MailRecord) -> None:
        """Register a mail that was read."""
        self._newest.note(mail)

    def why_not(self, mail: MailRecord) -> Outcome | None:
        """Return EXPIRED or SUPERSEDED for a mail that needn't be sent any more, else None."""
        if self._clock.now_ms() >= mail.expires_at:
            return Outcome.EXPIRED
        return Outcome.SUPERSEDED if self._newest.supersedes(mail) else None

    def left_s(self, mail: MailRecord) -> float:
        """Return the seconds until a mail expires; 0 if it has."""
        return max(0.0, (mail.expires_at - self._clock.now_ms()) / 1000)
