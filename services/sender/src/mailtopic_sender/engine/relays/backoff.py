"""The pauses between probes of an unavailable relay."""

import random
from dataclasses import dataclass

from mailtopic_sender.domain.replies import ReplyClass

_BLOCKING = frozenset({ReplyClass.AUTH, ReplyClass.BLOCKED})
"""Problems that frequent attempts make worse."""
_GROUP = 3
"""Up to this many senders use the shortest pause."""
_LARGER_GROUP = 1.5
_LONGEST_S = 3600.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between probes, seconds, ±10 % so that processes spread.

    Attributes:
        steps_s: the pauses in order; the last one repeats.
        login_steps_s: the same while the relay requires a login at MAIL, or this host is refused.
        refused_login_steps_s: the same while a login is refused. With the jitter, above ten minutes
            for a group of up to three senders; see `pause_s`.
        quota_steps_s: the same while a quota is used up, which lasts for hours.
    """

    steps_s: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0)
    login_steps_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
    refused_login_steps_s: tuple[float, ...] = (700.0,)
    quota_steps_s: tuple[float, ...] = (30.0, 60.0, 120.0, 300.0, 600.0)

    def pause_s(
        self, failures: int, reply_class: ReplyClass, *, phase: str = "", share: float = 1.0
    ) -> float:
        """Return the pause after this many failures (from 1).

        Servers lock an account after a handful of refused logins. So that a group's senders
        together make fewer than five attempts in ten minutes, each pauses longer the smaller its
        share of the work, up to an hour, and large groups spread over twice the time.
        """
        steps_s = self.steps_s
        if phase == "auth" and reply_class in _BLOCKING:
            scale = max(1.0, 1 / max(share * _GROUP, 1e-3))
            step_s = self.refused_login_steps_s[min(failures, len(self.refused_login_steps_s)) - 1]
            spread = 1.1 if scale < _LARGER_GROUP else 2.0
            scaled_s = min(step_s * scale, max(step_s, _LONGEST_S))
            return scaled_s * random.uniform(0.9, spread)  # noqa: S311 - the same
        if reply_class in _BLOCKING:
            steps_s = self.login_steps_s
        elif reply_class is ReplyClass.QUOTA:
            steps_s = self.quota_steps_s
        step_s = steps_s[min(failures, len(steps_s)) - 1]
        return step_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, guards nothing
