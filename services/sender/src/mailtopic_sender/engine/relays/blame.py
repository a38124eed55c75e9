"""Whether a refusal that blames the relay concerns more than one recipient. Pure."""

from collections import OrderedDict
from collections.abc import Hashable

_BEFORE_RECIPIENT = frozenset({"connect", "ehlo", "tls", "auth", "mail"})
_ENOUGH = 2
_REMEMBERED = 1000


class Blame:
    """Weighs refusals that blame the relay, such as "quota exceeded".

    From RCPT on, such a reply may come from that recipient's server while the relay works. So it
    counts from the second refused recipient on while no mail is accepted. A recipient that was
    refused before another one's mail was accepted is refused alone: it doesn't count any more until
    a mail to it is accepted.
    """

    def __init__(self) -> None:
        self._refused: set[Hashable] = set()
        self._since_s = 0.0
        self._alone: OrderedDict[Hashable, None] = OrderedDict()

    def refused(self, phase: str, recipient: Hashable, now_s: float) -> bool:
        """Note a refusal; returns whether the relay is to blame for it.

        A recipient of None is unknown. now_s is in monotonic seconds.
        """
        if recipient is None or phase in _BEFORE_RECIPIENT:
            return True
        if recipient in self._alone:
            self._alone.move_to_end(recipient)
            return False
        if recipient in self._refused:
            return False
        if not self._refused:
            self._since_s = now_s
        if len(self._refused) < _REMEMBERED:
            self._refused.add(recipient)
        return len(self._refused) >= _ENOUGH

    def taken(self, recipient: Hashable, began_at_s: float) -> None:
        """Note an accepted mail, begun at that time, monotonic seconds."""
        if self._alone:
            self._alone.pop(recipient, None)
        # A mail that began before the first refusal is no evidence against it.
        if not self._refused or began_at_s < self._since_s:
            return
        self._refused.discard(recipient)
        for each in self._refused:
            self._alone[each] = None
        while len(self._alone) > _REMEMBERED:
            self._alone.popitem(last=False)
        self._refused.clear()

    def is_alone(self, recipient: Hashable) -> bool:
        """Whether a recipient is refused while others are accepted."""
        return recipient in self._alone
