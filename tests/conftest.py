"""What all tests share: unit tests may not open sockets, and tiers are marked by their folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_socket import disable_socket, enable_socket

TESTS = Path(__file__).parent
FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Report what a test measured; the run's end lists all of it."""
    lines = request.config.stash.setdefault(FIGURES, [])
    return lambda text: lines.append(f"{request.node.name}: {text}")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        if tier in {"integration", "browser", "faults", "cluster"}:
            item.add_marker(tier)


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
