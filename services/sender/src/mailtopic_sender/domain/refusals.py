"""Detects refusals that don't concern their recipients, because many get the same text. Pure.

A mailbox that doesn't exist is refused among others that are accepted. A refusal that every
recipient gets, whatever its text, concerns the sender, its plan or the relay: an operator has to
fix it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_NEW_DOMAIN_PAUSE_S = 1.0
_REMEMBERED_RECIPIENTS = 5_000
_REMEMBERED_WORDS = 200
_REMEMBERED_DOMAINS = 5_000


class Blame(Enum):
    """The subject of a refusal, by its known codes and words."""

    OURS = "ours"
    UNCLEAR = "unclear"
    RECIPIENT = "recipient"


class Verdict(Enum):
    """How to handle a refusal."""

    COUNTS = "counts"
    """It is taken literally."""
    LATER = "later"
    """All recipients get this text, or got it recently: try again later."""
    HELD = "held"
    """It doesn't concern the recipient: the mail waits."""


@dataclass(frozen=True, slots=True)
class RefusalLimits:
    """When refusals are too much alike.

    Attributes:
        share: the text's share of the replies (acceptances and this text) since it first came,
            above 0 to 1.
        ours: recipients that get a text known to be about us before mails are held.
        unclear: the same for unknown texts.
        known: the same for texts known to be about a recipient, such as "user unknown": a relay
            that has lost its directory sends this for all.
        known_domains: the same for those recipients' domains; a single domain may well be gone.
        window_s: a text that hasn't come for this long is counted from zero.
        hold_s: the longest time that mails are held. Then each is sent again, and those that get
            the text are deferred.
        suspect_s: for this long after the end, the text doesn't count against a recipient.
    """

    share: float = 0.9
    ours: int = 3
    unclear: int = 10
    known: int = 50
    known_domains: int = 5
    window_s: float = 3600.0
    hold_s: float = 60.0
    suspect_s: float = 300.0


@dataclass(slots=True)
class _Tally:
    accepted_before: int
    last_s: float
    recipients: set[int] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)


class RefusalGuard:
    """Closes when (nearly) all mails are refused with the same text.

    While it holds mails, one is tried after each pause, 1 s at first and doubled up to 30 s, plus
    one a second for a domain that hasn't been refused yet: a text that one domain gets doesn't hold
    up the others. It holds them for a minute: on a quiet topic, a few recipients that are all dead
    look the same as a refused sender, and mails for others must not wait for long. After that,
    mails that get this text are deferred, so that they bounce in neither case. It opens when a
    relay accepts a mail that was started after the closing. A recipient that was refused before
    doesn't count, however often it is refused. Texts that only some of the recipients get may go
    unnoticed.
    """

    def __init__(self, limits: RefusalLimits | None = None) -> None:
        self._limits = limits or RefusalLimits()
        self._accepted = 0
        self._tallies: OrderedDict[str, _Tally] = OrderedDict()
        self._refused_before: OrderedDict[int, None] = OrderedDict()
        self._alike: set[str] = set()
        self._suspects: dict[str, float] = {}
        self._domains: set[str] = set()
        self._closed_at_s: float | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._next_s = 0.0
        self._next_new_domain_s = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether all mails get the same text, as far as is known."""
        return self._closed_at_s is not None

    def holds(self, now_s: float) -> bool:
        """Whether mails have to wait."""
        return self._closed_at_s is not None and now_s < self._closed_at_s + self._limits.hold_s

    def note_accepted(self) -> None:
        """Note that a relay accepted a mail; while closed, `may_open` judges it."""
        self._accepted += 1

    def may_open(self, *, began_s: float, now_s: float) -> bool:
        """Open if an accepted mail began after the closing; times are monotonic seconds."""
        if self._closed_at_s is None or began_s < self._closed_at_s:
            return False
        self._open(now_s)
        return True

    def is_alike(self, words: str) -> bool:
        """Whether all mails get this text."""
        return words in self._alike

    def note_refused(
        self, words: str, *, recipient: str, domain: str, blame: Blame, now_s: float
    ) -> Verdict:
        """Note a refusal that would end a mail, or that concerns us; returns what to do.

        Args:
            words: the refusal's text without the parts that differ between recipients.
            recipient: normalised address; only its hash, valid in this process, is kept.
            domain: its domain.
            blame: what is known about the text.
            now_s: monotonic time.
        """
        was_closed = self.is_closed
        if was_closed and (words in self._alike or blame is Blame.OURS):
            self._note_alike(words, (domain,))
            return self._put_off(now_s)
        is_suspect = now_s < self._suspects.get(words, now_s)
        tally = self._count(words, hash(recipient), domain, now_s)
        if self._is_too_much(tally, blame, is_suspect=is_suspect):
            self._note_alike(words, tally.domains)
            if not was_closed:
                self._close(now_s)
            return self._put_off(now_s)
        if is_suspect and blame is not Blame.OURS:
            return Verdict.LATER
        return Verdict.COUNTS

    def may_try(self, domain: str, now_s: float) -> bool:
        """Whether a mail for this domain may be sent; while closed, this takes the turn."""
        if not self.holds(now_s):
            return True
        if now_s >= self._next_s:
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
            self._next_s = now_s + self._pause_s
            return True
        if domain not in self._domains and now_s >= self._next_new_domain_s:
            self._note_domains((domain,))
            self._next_new_domain_s = now_s + _NEW_DOMAIN_PAUSE_S
            return True
        return False

    def wait_s(self, domain: str, now_s: float) -> float:
        """Return the seconds until a mail for this domain may try; others may take the turn."""
        if self._closed_at_s is None:
            return 0.0
        next_s = min(self._next_s, self._closed_at_s + self._limits.hold_s)
        if domain not in self._domains:
            next_s = min(next_s, self._next_new_domain_s)
        return max(0.0, next_s - now_s)

    def _close(self, now_s: float) -> None:
        self._closed_at_s = now_s
        self._pause_s = _FIRST_PAUSE_S
        self._next_s = now_s + self._pause_s
        self._next_new_domain_s = now_s

    def _open(self, now_s: float) -> None:
        self._closed_at_s = None
        until_s = now_s + self._limits.suspect_s
        left = sorted(self._suspects.items(), key=lambda each: each[1])[-_REMEMBERED_WORDS:]
        self._suspects = {words: end_s for words, end_s in left if end_s > now_s}
        self._suspects |= dict.fromkeys(self._alike, until_s)
        self._alike.clear()
        self._domains.clear()
        self._tallies.clear()
        self._refused_before.clear()

    def _is_too_much(self, tally: _Tally, blame: Blame, *, is_suspect: bool) -> bool:
        limits = self._limits
        refused = len(tally.recipients)
        total = refused + self._accepted - tally.accepted_before
        if refused < limits.share * total:
            return False
        if is_suspect or blame is Blame.OURS:
            return refused >= limits.ours
        if blame is Blame.UNCLEAR:
            return refused >= limits.unclear
        return refused >= limits.known and len(tally.domains) >= limits.known_domains

    def _count(self, words: str, recipient: int, domain: str, now_s: float) -> _Tally:
        tally = self._tallies.get(words)
        if tally is None or self._is_over(tally, now_s):
            # Mails accepted before the text first came are no evidence against it.
            tally = self._tallies[words] = _Tally(self._accepted, now_s)
        tally.last_s = now_s
        self._tallies.move_to_end(words)
        if len(self._tallies) > _REMEMBERED_WORDS:
            self._tallies.popitem(last=False)
        if recipient not in self._refused_before:
            if len(tally.recipients) < self._limits.known:
                tally.recipients.add(recipient)
                tally.domains.add(domain)
            self._refused_before[recipient] = None
            if len(self._refused_before) > _REMEMBERED_RECIPIENTS:
                self._refused_before.popitem(last=False)
        return tally

    def _is_over(self, tally: _Tally, now_s: float) -> bool:
        """Whether it starts again, because enough others were accepted or enough time passed."""
        others = self._accepted - tally.accepted_before
        allowed = len(tally.recipients) * (1 - self._limits.share) / self._limits.share
        return now_s - tally.last_s > self._limits.window_s or others > allowed + 1

    def _put_off(self, now_s: float) -> Verdict:
        return Verdict.HELD if self.holds(now_s) else Verdict.LATER

    def _note_alike(self, words: str, domains: Iterable[str]) -> None:
        if len(self._alike) < _REMEMBERED_WORDS:  # others are counted, as before the closing
            self._alike.add(words)
        self._note_domains(domains)

    def _note_domains(self, domains: Iterable[str]) -> None:
        for domain in domains:
            if len(self._domains) < _REMEMBERED_DOMAINS:
                self._domains.add(domain)
