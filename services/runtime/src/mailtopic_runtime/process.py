"""The frame of every process: signals, exit codes, one line for an invalid setting."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from mailtopic_runtime.errors import SettingError
from mailtopic_runtime.settings import fail


def run_program(
    program: str,
    main: Callable[[], Coroutine[Any, Any, int]],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> NoReturn:
    """Run a process's main coroutine and end the process with the exit code that it returns.

    A SettingError becomes one line and exit code 2, also out of a task group. The event loop is
    asyncio's own, or what loop_factory makes.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            code = runner.run(main())
    except* SettingError as group:
        fail(program, _first_setting_error(group))
    except* KeyboardInterrupt:
        sys.exit(130)
    sys.exit(code)


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets; must be called inside the event loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    return stop


def _first_setting_error(group: BaseExceptionGroup[SettingError]) -> SettingError:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if not isinstance(first, SettingError):
        raise TypeError("the group holds something else than setting errors")
    return first
