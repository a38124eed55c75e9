"""Sign up as people do: on the page, over the whole pipeline, with the mail read in the inbox."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from mailtopic_cli.kafka_distribution import (
    DistributionError,
    cache_dir,
    ensure_distribution,
    load_distribution,
)
from support.chromium import NewContext, keep_screenshot
from support.ports import free_port_run
from support.programs import running
from support.requirements import require

PORTS = 7  # signup, inbox, SMTP, Kafka, its controller, two senders
START_TIMEOUT_S = 90


@dataclass(frozen=True, slots=True)
class Devstack:
    signup_url: str
    inbox_url: str


@pytest.fixture(scope="module")
def devstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devstack]:
    try:
        ensure_distribution(load_distribution(), cache_dir())
    except DistributionError as error:
        require("browser", f"Apache Kafka can't be fetched: {error}")
    folder = tmp_path_factory.mktemp("devstack")
    data_dir, log = folder / "state", folder / "up.log"
    arguments = ["up", "--port-base", str(free_port_run(PORTS)), "--data-dir", str(data_dir)]
    is_ready = partial(is_up, data_dir / "run.json")
    with running("mailtopic", *arguments, log=log, is_ready=is_ready, timeout_s=START_TIMEOUT_S):
        urls = json.loads((data_dir / "run.json").read_text())["urls"]
        yield Devstack(urls["signup"], urls["inbox"])


def is_up(run_file: Path) -> bool:
    return run_file.exists() and json.loads(run_file.read_text())["ready_at_ms"] is not None


def ask_for_a_code(page: Page, devstack: Devstack, address: str) -> None:
    page.goto(devstack.signup_url)
    page.locator("#email").fill(address)
    page.locator("#email").press("Enter")
    expect(page.locator("#code")).to_be_focused()
    expect(page.locator("#on-its-way")).to_contain_text(address)


def open_inbox(page: Page, devstack: Devstack) -> None:
    page.goto(devstack.inbox_url)
    expect(page.locator("#link-state")).to_have_attribute("data-state", "live")


def read_code(inbox: Page, address: str) -> str:
    """Open the address's mail, which has to appear without a reload, and read the code in it."""
    inbox.get_by_role("link", name=address).click()
    code = inbox.locator("#text")
    expect(code).to_have_text(re.compile("[0-9]{6}"))
    (digits,) = re.findall("[0-9]{6}", code.inner_text())
    expect(inbox.frame_locator("#html").locator("b")).to_have_text(digits)
    return str(digits)


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


@dataclass(frozen=True, slots=True)
class Words:
    locale: str
    confirm: str
    sent: str
    subject: str
    done: str


ENGLISH = Words(
    "en-GB", "Confirm", "The mail has been sent", "Your one-time code", "The address is confirmed"
)
RUSSIAN = Words(
    "ru-RU", "Подтвердить", "Письмо отправлено", "Ваш одноразовый код", "Адрес подтверждён"
)


@pytest.mark.parametrize("words", [ENGLISH, RUSSIAN], ids=["en", "ru"])
def test_a_person_signs_up_reads_the_mail_and_is_verified(
    devstack: Devstack, new_context: NewContext, words: Words
) -> None:
    language = words.locale[:2]
    address = f"{language}.reader@example.org"
    context = new_context(words.locale)
    inbox, signup = context.new_page(), context.new_page()
    open_inbox(inbox, devstack)
    ask_for_a_code(signup, devstack, address)
    expect(signup.get_by_role("status")).to_contain_text(words.sent)
    keep_screenshot(signup, f"signup-code-{language}")

    code = read_code(inbox, address)
    expect(inbox.locator("#subject")).to_have_text(words.subject)
    keep_screenshot(inbox, f"inbox-mail-{language}")

    signup.locator("#code").fill(code)
    signup.get_by_role("button", name=words.confirm).click()
    expect(signup.get_by_role("heading", level=1)).to_have_text(words.done)
    expect(signup.get_by_role("heading", level=1)).to_be_focused()
    keep_screenshot(signup, f"signup-done-{language}")


def test_the_two_pages_lead_to_each_other(devstack: Devstack, new_context: NewContext) -> None:
    page = new_context().new_page()
    open_inbox(page, devstack)
    expect(page.locator("#command")).to_contain_text(f"{devstack.signup_url}v1/signups")
    ask_for_a_code(page, devstack, "curious@example.org")
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open the demo inbox").click()
    expect(popup.value.get_by_role("heading", level=1)).to_contain_text("Inbox")


def test_a_wrong_code_is_said_at_the_field_with_the_tries_left(
    devstack: Devstack, new_context: NewContext
) -> None:
    context = new_context()
    signup, inbox = context.new_page(), context.new_page()
    ask_for_a_code(signup, devstack, "hasty@example.org")
    open_inbox(inbox, devstack)
    code = read_code(inbox, "hasty@example.org")
    field = signup.get_by_label("Six-digit code")
    for tries_left in ("4 tries left", "3 tries left"):
        field.fill(other_than(code))
        field.press("Enter")
        expect(signup.get_by_role("alert").filter(visible=True)).to_contain_text(tries_left)
        expect(field).to_have_accessible_description(re.compile(tries_left))
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_be_focused()
    keep_screenshot(signup, "signup-wrong-code")
    field.fill(code)
    field.press("Enter")
    expect(signup.get_by_role("heading", level=1)).to_have_text("The address is confirmed")


@pytest.mark.parametrize("zero", [0x0660, 0x06F0, 0x0966, 0xFF10], ids=hex)
def test_a_code_in_the_digits_of_another_script_is_understood(
    devstack: Devstack, new_context: NewContext, zero: int
) -> None:
    context = new_context()
    signup, inbox = context.new_page(), context.new_page()
    address = f"digits-{zero}@example.org"
    ask_for_a_code(signup, devstack, address)
    open_inbox(inbox, devstack)
    code = read_code(inbox, address)
    typed = "".join(chr(zero + int(digit)) for digit in code)
    signup.get_by_label("Six-digit code").fill(f"{typed[:3]} {typed[3:]}")
    expect(signup.get_by_label("Six-digit code")).to_have_value(code)
    signup.keyboard.press("Enter")
    expect(signup.get_by_role("heading", level=1)).to_have_text("The address is confirmed")


@pytest.mark.parametrize(
    ("locale", "lead", "label"),
    [
        (
            "en-GB",
            "of eight digits to it. The code is valid for 2 hours",
            "Eight-digit code",
        ),
        ("ru-RU", "код из восьми цифр. Срок его действия: 2 часа", "Код из восьми цифр"),
    ],
    ids=["en", "ru"],
)
def test_the_page_says_how_long_codes_are_and_for_how_long(
    devstack: Devstack, new_context: NewContext, locale: str, lead: str, label: str
) -> None:
    page = new_context(locale).new_page()

    def with_other_settings(route: Route) -> None:
        answer = route.fetch()
        text = answer.text().replace('code-length" content="6"', 'code-length" content="8"')
        text = text.replace('code-ttl-s" content="600"', 'code-ttl-s" content="7200"')
        route.fulfill(response=answer, body=text)

    page.route(re.compile(f"^{re.escape(devstack.signup_url)}/?$"), with_other_settings)
    page.goto(devstack.signup_url)
    expect(page.locator(".lead").first).to_have_text(re.compile(lead))
    page.locator("#email").fill("eight@example.org")
    page.keyboard.press("Enter")
    field = page.get_by_label(label)
    expect(field).to_be_focused()
    field.fill("12345 67890 12345 67890")
    expect(field).to_have_value("1234567890123456")


@pytest.mark.parametrize(
    ("locale", "missing", "bad"),
    [
        ("en-GB", "Enter your email address.", re.compile("has no @")),
        ("ru-RU", "Введите адрес электронной почты.", re.compile("Это не полный адрес почты")),
    ],
    ids=["en", "ru"],
)
def test_a_bad_address_is_said_at_the_field(
    devstack: Devstack, new_context: NewContext, locale: str, missing: str, bad: re.Pattern[str]
) -> None:
    page = new_context(locale).new_page()
    page.goto(devstack.signup_url)
    field, alert = page.locator("#email"), page.locator("#email-error")
    field.press("Enter")
    expect(alert).to_have_text(missing)
    field.fill("not an address")
    expect(alert).to_be_empty()
    field.press("Enter")
    expect(alert).to_have_text(bad)
    expect(field).to_have_accessible_description(bad)
    expect(field).to_be_focused()
    keep_screenshot(page, f"signup-bad-address-{locale[:2]}")


def test_the_keyboard_alone_is_enough(devstack: Devstack, new_context: NewContext) -> None:
    context = new_context()
    signup, inbox = context.new_page(), context.new_page()
    signup.goto(devstack.signup_url)
    for _ in range(3):  # two languages, then the address
        signup.keyboard.press("Tab")
    signup.keyboard.type("keys@example.org")
    signup.keyboard.press("Tab")
    expect(signup.get_by_role("button", name="Send the code")).to_be_focused()
    signup.keyboard.press("Space")
    expect(signup.get_by_label("Six-digit code")).to_be_focused()

    open_inbox(inbox, devstack)
    expect(inbox.get_by_role("link", name="keys@example.org")).to_be_visible()
    for _ in range(4):  # two languages, "Delete all", then the newest mail
        inbox.keyboard.press("Tab")
    inbox.keyboard.press("Enter")
    expect(inbox.locator("#to")).to_have_text("keys@example.org")
    (code,) = re.findall("[0-9]{6}", inbox.locator("#text").inner_text())

    signup.keyboard.type(code)
    signup.keyboard.press("Enter")
    expect(signup.get_by_role("heading", level=1)).to_be_focused()
    expect(signup.get_by_role("heading", level=1)).to_have_text("The address is confirmed")


def test_a_reload_keeps_the_running_signup_and_stores_no_address(
    devstack: Devstack, new_context: NewContext
) -> None:
    context = new_context("ru-RU")
    signup, inbox = context.new_page(), context.new_page()
    ask_for_a_code(signup, devstack, "again@example.org")
    stored = signup.evaluate("JSON.stringify({...sessionStorage, ...localStorage})")
    assert "again" not in stored
    signup.reload()
    expect(signup.get_by_label("Код из шести цифр")).to_be_focused()
    expect(signup.locator("#delivery")).to_have_attribute("data-state", "sent")
    open_inbox(inbox, devstack)
    signup.get_by_label("Код из шести цифр").fill(read_code(inbox, "again@example.org"))
    signup.keyboard.press("Enter")
    expect(signup.get_by_role("heading", level=1)).to_have_text("Адрес подтверждён")


def test_a_new_code_can_be_asked_for_only_when_the_countdown_is_over(
    devstack: Devstack, new_context: NewContext
) -> None:
    page = new_context().new_page()
    page.clock.install()
    ask_for_a_code(page, devstack, "patient@example.org")
    resend = page.locator("#resend")
    expect(resend).to_be_disabled()
    expect(resend).to_have_text(re.compile(r"Send a new code in (1:00|0:[0-5][0-9])"))
    # From here on no answer tells the page the service's time, so only its own clock is ahead.
    expect(page.locator("#delivery")).to_have_attribute("data-state", "sent")
    page.clock.fast_forward("01:05")
    expect(resend).to_have_text("Send a new code")
    resend.click()
    expect(page.locator("#code-error")).to_contain_text("Too many requests")
    expect(resend).to_be_disabled()
