"""How many mails a relay accepted recently. Pure."""

_SLOTS = 8
_SLOTS_PER_S = 4
_FEW = 5
"""This few mails say nothing about a shorter span than the whole."""


class RecentRate:
    """Counts mails in slots of a quarter of a second, over the latest two seconds."""

    def __init__(self) -> None:
        self._counts = [0] * _SLOTS
        self._slot = 0
        self._since_s = 0.0

    def add(self, now_s: float) -> None:
        """Count a mail."""
        slot = int(now_s * _SLOTS_PER_S)
        if slot != self._slot:
            self._turn_to(slot, now_s)
        self._counts[slot % _SLOTS] += 1

    def per_s(self, now_s: float) -> float:
        """Return the rate over the latest two seconds, or since the first mail in them."""
        slot = int(now_s * _SLOTS_PER_S)
        if slot != self._slot:
            self._turn_to(slot, now_s)
        taken = sum(self._counts)
        oldest = next((n for n in range(_SLOTS) if self._counts[(slot + 1 + n) % _SLOTS]), None)
        if oldest is None:
            return 0.0
        began_s = max(self._since_s, (slot + 1 + oldest - _SLOTS) / _SLOTS_PER_S)
        shortest_s = _SLOTS / _SLOTS_PER_S if taken < _FEW else 1 / _SLOTS_PER_S
        return taken / max(now_s - began_s, shortest_s)

    def _turn_to(self, slot: int, now_s: float) -> None:
        gone = slot - self._slot
        if gone >= _SLOTS:
            self._counts = [0] * _SLOTS
            self._since_s = now_s
        else:
            for late in range(self._slot + 1, slot + 1):
                self._counts[late % _SLOTS] = 0
        self._slot = slot
