"""The operator, ending itself without a word before its n-th action: for tests of crashes.

Run as ``python -m support.stopping_operator`` with the number in STOP_BEFORE_ACTION.
"""

import os
import signal

from mailtopic_operator.bootstrap import run_operator
from mailtopic_operator.settings import OperatorSettings
from mailtopic_runtime import configure_logging, load_settings, run_program

PROGRAM = "stopping-operator"


class StopBefore:
    """Counts the moments between actions and ends the process in one of them."""

    def __init__(self, number: int) -> None:
        self._left = number

    async def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    settings = load_settings(OperatorSettings, PROGRAM)
    configure_logging(settings.log)
    stop = StopBefore(int(os.environ["STOP_BEFORE_ACTION"]))
    run_program(PROGRAM, lambda: run_operator(settings, between_actions=stop))


if __name__ == "__main__":
    main()
