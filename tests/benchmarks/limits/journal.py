"""What happened at a relay, and what follows from it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from support.mail_servers.server import DOMAIN

_ADDRESS = re.compile(rf"u(\d+)\.(\d+)@{re.escape(DOMAIN)}")


class Taken(NamedTuple):
    """A mail that a relay took, epoch seconds; `number` is the same in a second copy."""

    at_s: float
    number: int
    accepted_at_s: float

    @classmethod
    def of(cls, recipient: str, at_s: float) -> Self:
        """Read what `address` wrote.

        Raises:
            ValueError: it is another address.
        """
        found = _ADDRESS.fullmatch(recipient)
        if found is None:
            raise ValueError(f"not an address of this benchmark: {recipient!r}")
        return cls(at_s, int(found[1]), int(found[2]) / 1000)


def address(number: int, accepted_at_s: float) -> str:
    """Return the recipient of a mail: it says when the mail was given to its sender."""
    return f"u{number}.{round(accepted_at_s * 1000)}@{DOMAIN}"


@dataclass
class Journal:
    """All that happened at one relay.

    Attributes:
        taken: in order of time.
        refused_at_s: every refusal of a mail or of a connection, epoch seconds.
    """

    taken: list[Taken] = field(default_factory=list)
    refused_at_s: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, lines: Iterable[str]) -> Self:
        """Read the lines of `taken_line` and `refused_line`."""
        journal = cls()
        for line in lines:
            at_s, _, recipient = line.rstrip("\n").partition(" ")
            if recipient:
                journal.taken.append(Taken.of(recipient, float(at_s)))
            else:
                journal.refused_at_s.append(float(at_s))
        return journal

    def found(self, *, began_s: float, until_s: float, limit_per_s: float) -> "Found":
        """Return what is between two moments; second copies aren't counted as taken."""
        firsts = list(self._firsts())
        counted = [each for each in firsts if began_s <= each.at_s < until_s]
        waits = sorted(each.at_s - each.accepted_at_s for each in counted) or [0.0]
        refused = sum(began_s <= at_s < until_s for at_s in self.refused_at_s)
        return Found(
            taken=len(counted) / (until_s - began_s) / limit_per_s,
            refusals=refused / max(1, len(counted)),
            wait_p50_s=waits[len(waits) // 2],
            wait_p95_s=waits[len(waits) * 95 // 100],
            copies=len(self.taken) - len(firsts),
        )

    def _firsts(self) -> Iterator[Taken]:
        seen: set[int] = set()
        for each in self.taken:
            if each.number not in seen:
                seen.add(each.number)
                yield each


def taken_line(recipient: str, at_s: float) -> str:
    """Return a mail that was taken as a line of a journal."""
    return f"{at_s:.3f} {recipient}\n"


def refused_line(at_s: float) -> str:
    """Return a refusal as a line of a journal."""
    return f"{at_s:.3f}\n"


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a run.

    Attributes:
        taken: mails taken ÷ the limit.
        refusals: of mails and of connections, a mail taken.
        wait_p50_s, wait_p95_s: of the mails taken, from when they were given to their sender.
        copies: mails that the relay took once more, from the start.
    """

    taken: float
    refusals: float
    wait_p50_s: float
    wait_p95_s: float
    copies: int
