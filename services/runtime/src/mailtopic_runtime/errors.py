"""Errors and exit codes that every process shares."""

EXIT_OK = 0
EXIT_CONFIG = 2
"""A setting is missing or wrong; starting again without changing it is pointless."""
EXIT_WEDGED = 70
"""The process stopped making progress and ended itself (EX_SOFTWARE of sysexits.h)."""


class SettingError(Exception):
    """A setting that can't be used; ends the process with one line and exit code 2.

    Attributes:
        name: the setting as the user writes it, such as ``MAILTOPIC_SMTP__CA_FILE``.
        problem: what is wrong and what to do, in one line; never a secret's value.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem
