"""What can keep the devstack from running.

DevstackError(Exception)     one line that says what to do; exit code 1
└── BadStart                 the command line or the machine has to change first; exit code 2
"""

import os

OPTIONS_BY = "MAILTOPIC_OPTIONS_BY"
"""A variable set by the Makefile: how its users pass options of `mailtopic up`."""


class DevstackError(Exception):
    """The devstack cannot run, or cannot continue; the text is one line that says what to do."""

    exit_code = 1


class BadStart(DevstackError):  # noqa: N818 - reads as what happened
    """Nothing was started: a port, a directory or another devstack is in the way."""

    exit_code = 2


def option(words: str) -> str:
    """Return options as the user types them: under make, in a variable."""
    variable = os.environ.get(OPTIONS_BY)
    return f'{variable}="{words}"' if variable else words
