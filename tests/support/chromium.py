"""Chromium as the browser tests use it, and a watch over everything that its pages do."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    sync_playwright,
)

NewContext = Callable[..., BrowserContext]
SCREENSHOTS = Path(__file__).parents[2] / "artefacts" / "screenshots"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox",  # the tests run as root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_OUR_HOSTS = {"127.0.0.1", "localhost"}
_INLINE_SCHEMES = {"data", "blob", "about"}


def find_chromium() -> str | None:
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@contextmanager
def launched(program: str) -> Iterator[Browser]:
    """Run one headless Chromium; no event loop may run in this thread meanwhile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        browser.close()


class Watch:
    """What the pages of one context complained about, asked for and popped up."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        self.foreign_requests: list[str] = []
        self.dialogs: list[str] = []
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", self._on_request)
        context.on("dialog", self._on_dialog)

    def _on_console(self, message: ConsoleMessage) -> None:
        # Chromium reports each 4xx as an error; for the signup API a refusal is an answer.
        is_refusal = message.text.startswith("Failed to load resource") and urlsplit(
            message.location["url"]
        ).path.startswith("/v1/signups")
        if message.type in {"error", "warning"} and not is_refusal:
            self.complaints.append(message.text)

    def _on_request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in _INLINE_SCHEMES and url.hostname not in _OUR_HOSTS:
            self.foreign_requests.append(request.url)

    def _on_dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()


def keep_screenshot(page: Page, name: str) -> None:
    """Write artefacts/screenshots/NAME.png."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.bring_to_front()  # a frame of another origin is painted in the front tab only
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
