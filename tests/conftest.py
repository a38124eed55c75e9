"""What all tests share: unit tests may not open sockets, and tiers are marked by their folder."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from pytest_socket import disable_socket, enable_socket

from mailtopic_runtime.logs import reset_logging
from support.run_report import RunReport, in_order

# How long one example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("mailtopic", deadline=None)
hypothesis.settings.load_profile("mailtopic")

TESTS = Path(__file__).parent
FIGURE = "figure"
_MOST_BYTES_OF_A_NAME = 24


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Report what a test measured; the run's end lists all of it, whichever process ran it."""
    return lambda text: record_property(FIGURE, text)


@pytest.fixture(autouse=True)
def restored_logging(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave logs unconfigured after each unit test: tests that capture lines count on it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if request.path.is_relative_to(TESTS / "unit"):
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.getLogger("aiokafka").setLevel(logging.NOTSET)
        reset_logging()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [
        f"{report.location[2]}: {text}"
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        for name, text in report.user_properties
        if name == FIGURE
    ]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)


def pytest_configure(config: pytest.Config) -> None:
    # Of several processes only the one that the user sees reports.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(RunReport(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    in_order(items)
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        if tier in {"integration", "browser", "faults", "cluster"}:
            item.add_marker(tier)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: a name must be the same in each process, and be readable."""
    return argname if isinstance(val, bytes) and len(val) > _MOST_BYTES_OF_A_NAME else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> object:
    is_unit = item.path.is_relative_to(TESTS / "unit")
    if is_unit:
        # asyncio's event loop needs a socket pair of its own.
        disable_socket(allow_unix_socket=True)
    try:
        return (yield)
    finally:
        if not is_unit:
            enable_socket()


def pytest_runtest_teardown() -> None:
    enable_socket()
