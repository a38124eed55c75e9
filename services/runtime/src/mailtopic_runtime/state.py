"""One log line for each change of a dependency's state, and none in between."""

from typing import Any

from mailtopic_runtime.logs import Logger


class StateLog:
    """Remembers whether a dependency works, and logs when that changes.

    The first report is a change as well, but a dependency that works from the start is logged
    only at debug level.
    """

    def __init__(self, log: Logger, name: str) -> None:
        self._log = log
        self._name = name
        self._is_up: bool | None = None
        self.reason: str | None = None
        """Why it doesn't work, in words; None while it works or before the first report."""

    @property
    def is_up(self) -> bool:
        """Whether it worked at the last report; False before the first."""
        return self._is_up is True

    def up(self, **details: Any) -> None:
        """Report that it works."""
        was, self._is_up, self.reason = self._is_up, True, None
        if was is False:
            self._log.info(f"{self._name}.available", **details)
        elif was is None:
            self._log.debug(f"{self._name}.available", **details)

    def down(self, reason: str, **details: Any) -> None:
        """Report that it doesn't work; reason is one line without addresses."""
        was, self._is_up, self.reason = self._is_up, False, reason
        if was is not False:
            self._log.warning(f"{self._name}.unavailable", reason=reason, **details)
