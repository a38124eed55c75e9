"""A real Chromium. It lives no longer than a module: Playwright's loop would stop async tests."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from support.chromium import PROGRAMS, NewContext, Watch, find_chromium, launched
from support.requirements import require

# The machine may be busy with other tests; nothing waits this long when all is well.
expect.set_options(timeout=15_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        require("browser", f"none of {', '.join(PROGRAMS)} is installed")
    with launched(program) as browser:
        yield browser


@pytest.fixture
def new_context(browser: Browser) -> Iterator[NewContext]:
    """Open a browser profile; at the end no page may have complained or left this host."""
    watches: list[Watch] = []
    with ExitStack() as stack:

        def open_context(locale: str = "en-GB", **options: object) -> BrowserContext:
            context = browser.new_context(locale=locale, **options)  # type: ignore[arg-type]
            stack.callback(context.close)
            watches.append(Watch(context))
            return context

        yield open_context
    assert [watch.complaints for watch in watches] == [[]] * len(watches)
    assert [watch.foreign_requests for watch in watches] == [[]] * len(watches)
    assert [watch.dialogs for watch in watches] == [[]] * len(watches)
