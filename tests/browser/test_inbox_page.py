"""The inbox page over the real inbox server, fed over SMTP."""

import json
import smtplib
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest
from playwright.sync_api import Browser, Page, expect

from support.chromium import NewContext, Watch, keep_screenshot
from support.ports import free_ports
from support.programs import answers, running

PAGE_SIZE = 25


@dataclass(frozen=True, slots=True)
class Inbox:
    url: str
    smtp_port: int
    ca_file: Path

    def receive(self, *mails: EmailMessage) -> None:
        tls = ssl.create_default_context(cafile=self.ca_file)
        with smtplib.SMTP("127.0.0.1", self.smtp_port) as smtp:
            smtp.starttls(context=tls)
            for mail in mails:
                smtp.send_message(mail)

    def empty(self) -> None:
        request = urllib.request.Request(f"{self.url}api/v1/messages", method="DELETE")  # noqa: S310
        urllib.request.urlopen(request).close()  # noqa: S310 - a loopback URL

    def total(self) -> int:
        with urllib.request.urlopen(f"{self.url}api/v1/messages?limit=1") as answer:  # noqa: S310
            return int(json.load(answer)["total"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inbox]:
    data_dir = tmp_path_factory.mktemp("inbox")
    http_port, smtp_port = free_ports(2)
    inbox = Inbox(f"http://127.0.0.1:{http_port}/", smtp_port, data_dir / "ca.pem")
    arguments = ["inbox", "--data-dir", str(data_dir)]
    arguments += ["--http-port", str(http_port), "--smtp-port", str(smtp_port)]
    log = data_dir / "inbox.log"
    is_ready = partial(answers, inbox.url)
    with running("mailtopic", *arguments, log=log, is_ready=is_ready, timeout_s=60):
        yield inbox


@pytest.fixture
def inbox(server: Inbox) -> Inbox:
    server.empty()
    return server


def letter(number: int = 0, *, subject: str = "Your one-time code") -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "MailTopic <no-reply@mailtopic.test>"
    mail["To"] = f"reader{number}@example.org"
    mail["Subject"] = subject
    mail.set_content(f"Your code: {number:06}\n")
    mail.add_alternative(f"<p>Your code: <b>{number:06}</b></p>\n", subtype="html")
    return mail


def opened(page: Page, inbox: Inbox) -> Page:
    page.goto(inbox.url)
    expect(page.locator("#link-state")).to_have_attribute("data-state", "live")
    return page


def test_an_empty_inbox_says_how_to_get_a_mail(inbox: Inbox, new_context: NewContext) -> None:
    page = opened(new_context("ru-RU").new_page(), inbox)
    expect(page.get_by_text("Писем пока нет")).to_be_visible()
    expect(page.locator("#command")).to_contain_text("/v1/signups")
    expect(page.get_by_role("button", name="Удалить все")).to_be_hidden()
    keep_screenshot(page, "inbox-empty-ru")


def test_a_mail_appears_by_itself_and_is_announced(inbox: Inbox, new_context: NewContext) -> None:
    page = opened(new_context().new_page(), inbox)
    expect(page.get_by_text("No mail yet")).to_be_visible()
    inbox.receive(letter(7))
    expect(page.get_by_role("link", name="reader7@example.org")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("New mail to reader7@example.org")


def test_an_opened_mail_shows_its_text_and_html_and_survives_a_reload(
    inbox: Inbox, new_context: NewContext
) -> None:
    page = opened(new_context().new_page(), inbox)
    inbox.receive(letter(123456))
    page.get_by_role("link", name="reader123456@example.org").click()
    for _ in range(2):
        expect(page.locator("#subject")).to_have_text("Your one-time code")
        expect(page.locator("#text")).to_have_text("Your code: 123456")
        expect(page.frame_locator("#html").locator("b")).to_have_text("123456")
        page.reload()
    page.go_back()
    expect(page.locator("#mail")).to_be_hidden()


def test_many_mails_are_paged_and_deleted_only_after_a_question(
    inbox: Inbox, new_context: NewContext
) -> None:
    inbox.receive(*(letter(number) for number in range(PAGE_SIZE + 5)))
    page = opened(new_context().new_page(), inbox)
    expect(page.locator("#range")).to_have_text("1–25 of 30")
    page.get_by_role("button", name="Older").click()
    expect(page.locator("#mails li")).to_have_count(5)
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    page.get_by_role("button", name="Newer").click()
    expect(page.locator("#mails li")).to_have_count(PAGE_SIZE)

    page.get_by_role("button", name="Delete all").click()
    page.get_by_role("button", name="Keep them").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert inbox.total() == PAGE_SIZE + 5
    page.get_by_role("button", name="Delete all").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete all").click()
    expect(page.get_by_text("No mail yet")).to_be_visible()
    assert inbox.total() == 0


def test_the_keyboard_alone_opens_and_closes_mails(inbox: Inbox, new_context: NewContext) -> None:
    inbox.receive(letter(1), letter(2))
    page = opened(new_context().new_page(), inbox)
    newest, oldest = page.locator("#mails a").first, page.locator("#mails a").last
    page.get_by_role("button", name="Delete all").focus()
    page.keyboard.press("Tab")
    expect(newest).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(oldest).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#subject")).to_be_focused()
    expect(oldest).to_have_attribute("aria-current", "true")
    page.keyboard.press("Escape")
    expect(oldest).to_be_focused()


def test_the_switch_of_language_is_remembered(inbox: Inbox, new_context: NewContext) -> None:
    page = opened(new_context("ru-RU").new_page(), inbox)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Входящие")
    page.get_by_role("button", name="English").click()
    for _ in range(2):
        expect(page.get_by_role("heading", level=1)).to_contain_text("Inbox")
        expect(page.locator("html")).to_have_attribute("lang", "en")
        page.reload()


@pytest.mark.parametrize("width", [320, 640])
def test_a_narrow_window_needs_no_sideways_scrolling(
    inbox: Inbox, new_context: NewContext, width: int
) -> None:
    long_word = "x" * 300
    inbox.receive(letter(1, subject=long_word))
    page = opened(new_context("ru-RU", viewport={"width": width, "height": 640}).new_page(), inbox)
    too_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    expect(page.locator("#mails li")).to_have_count(1)
    assert not page.evaluate(too_wide)
    page.locator("#mails a").click()
    expect(page.locator("#subject")).to_have_text(long_word)
    assert not page.evaluate(too_wide)


def test_a_server_without_events_is_asked_every_few_seconds(inbox: Inbox, browser: Browser) -> None:
    # A refused stream is reported on the console, so this context has no watch.
    with browser.new_context(locale="en-GB") as context:
        context.route("**/api/v1/events", lambda route: route.fulfill(status=404))
        page = context.new_page()
        page.goto(inbox.url)
        expect(page.locator("#link-state")).to_have_attribute("data-state", "polling")
        expect(page.get_by_text("No mail yet")).to_be_visible()
        inbox.receive(letter(8))
        expect(page.get_by_role("link", name="reader8@example.org")).to_be_visible()


class Tracker(ThreadingHTTPServer):
    """A server of somebody else's that a mail would like its reader to call; notes who did."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), _TrackerHandler)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}"


class _TrackerHandler(BaseHTTPRequestHandler):
    raw_requestline: bytes

    def parse_request(self) -> bool:
        # An empty connection is Chromium's guess, made before the policy is asked; a request isn't.
        cast("Tracker", self.server).requests.append(self.raw_requestline.decode("latin-1"))
        return False


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    with Tracker() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


HOSTILE_HTML = """
<script>top.hacked = window.hacked = true; alert("script")</script>
<img src=x onerror="top.hacked = true; alert('handler')">
<img src="TRACKER/pixel.png">
<link rel="stylesheet" href="TRACKER/style.css">
<iframe src="TRACKER/"></iframe>
<meta http-equiv="refresh" content="0;url=TRACKER/refresh">
<form action="TRACKER/form"><button id="send">Send</button></form>
<a id="leave" href="TRACKER/link" target="_top">Leave</a>
<a id="run" href="javascript:top.hacked=true">Run</a>
<p id="end" style="position:fixed; inset:0; z-index:99999">The end</p>
"""


def hostile_letter(tracker: Tracker) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = '"<script>hacked=1</script>" <no-reply@mailtopic.test>'
    mail["To"] = "\"<img src=x onerror='hacked=1'>\"@example.org"
    mail["Subject"] = "<script>window.hacked = true</script><b>bold</b>"
    mail.set_content("<script>window.hacked = true</script>")
    mail.add_alternative(HOSTILE_HTML.replace("TRACKER", tracker.url), subtype="html")
    return mail


def test_a_hostile_mail_runs_nothing_and_calls_nobody(
    inbox: Inbox, tracker: Tracker, browser: Browser
) -> None:
    # What the browser refuses it also reports, so complaints are right here.
    with browser.new_context(locale="en-GB") as context:
        watch = Watch(context)
        page = opened(context.new_page(), inbox)
        inbox.receive(hostile_letter(tracker))
        expect(page.locator("#mails a")).to_contain_text("<script>window.hacked = true</script>")
        page.locator("#mails a").click()
        expect(page.locator("#subject")).to_contain_text("<b>bold</b>")
        expect(page.locator("#text")).to_have_text("<script>window.hacked = true</script>")
        frame = page.frame_locator("#html")
        expect(frame.locator("#end")).to_be_visible()
        for target in ("#send", "#run", "#leave"):
            frame.locator(target).dispatch_event("click")
        # The page is still itself, and still follows the server.
        inbox.receive(letter(5))
        expect(page.get_by_role("link", name="reader5@example.org")).to_be_visible()
        assert page.url.startswith(inbox.url)
        assert page.evaluate("typeof window.hacked") == "undefined"
        assert page.locator("#mails :is(script, b, img), .mail :is(script, b, img)").count() == 0
        keep_screenshot(page, "inbox-hostile")
        assert watch.dialogs == []
        assert tracker.requests == []
