"""When refusals are about none of their recipients, because many of them get the same words. Pure.

A mailbox that doesn't exist is refused among others that are taken. A refusal that every recipient
gets, whatever the words, is about the sender, its plan or the relay: an operator has to mend it.
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
    """What the known codes and words of a refusal are about."""

    OURS = "ours"
    UNCLEAR = "unclear"
    RECIPIENT = "recipient"


class Verdict(Enum):
    """What is to be done about a refusal."""

    COUNTS = "counts"
    """It means what it says."""
    LATER = "later"
    """All recipients get these words, or got them a short while ago: ask again later."""
    HELD = "held"
    """It is about no recipient: the mail waits."""


@dataclass(frozen=True, slots=True)
class RefusalLimits:
    """What is too much alike.

    Attributes:
        share: the words are this part of the answers (acceptances and these words) since they
            came up, above 0 to 1.
        ours: recipients that get words known to be about us before mails are held.
        unclear: the same of words that aren't known.
        known: the same of words known to be about a recipient, such as "user unknown": a relay
            that has lost its directory says so to all.
        known_domains: and those recipients' domains; one domain may well be gone.
        window_s: words that didn't come for so long are counted from zero.
        hold_s: mails are held for so long at most. Then each is sent again, and what gets the words
            is put off.
        suspect_s: for so long after the end, the words don't count against a recipient.
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
    """Closes when (nearly) all that is sent is refused in the same words.

    While it holds mails, one tries after each pause, 1 s at first and doubled up to 30 s, and
    beside those one a second for a domain that hasn't been refused yet: words that one domain
    gets don't hold up the others. It holds them for a minute: on a quiet topic, a few recipients
    that are all dead look the same as a sender that is refused, and mails for others must not wait
    for long. After that, what gets these words is put off, so that it bounces in neither case.
    It opens when a relay takes a mail that was begun after it had closed. A recipient that was
    refused before doesn't count, however often it is refused.
    It doesn't promise to notice words that only a part of the recipients get.
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
        """Whether all get the same words, as far as is known."""
        return self._closed_at_s is not None

    def holds(self, now_s: float) -> bool:
        """Whether mails have to wait."""
        return self._closed_at_s is not None and now_s < self._closed_at_s + self._limits.hold_s

    def note_accepted(self) -> None:
        """Note that a relay took a mail; while closed, `may_open` says what it means."""
        self._accepted += 1

    def may_open(self, *, began_s: float, now_s: float) -> bool:
        """Open if a mail that was taken had begun, both monotonic seconds, after the closing."""
        if self._closed_at_s is None or began_s < self._closed_at_s:
            return False
        self._open(now_s)
        return True

    def is_alike(self, words: str) -> bool:
        """Whether these are words that all get."""
        return words in self._alike

    def note_refused(
        self, words: str, *, recipient: str, domain: str, blame: Blame, now_s: float
    ) -> Verdict:
        """Note a refusal that would end a mail, or that is about us; returns what to do.

        Args:
            words: the refusal without what differs from recipient to recipient.
            recipient: normalised address; not kept, only its hash in this process.
            domain: its domain.
            blame: what is known of the words.
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
            # The mails taken before the words came up say nothing against them.
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
        """Whether so many others were taken, or so much time went, that it begins again."""
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
