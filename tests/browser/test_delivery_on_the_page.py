"""The signup page shows what becomes of the mail, as N.status tells it, while one looks at it."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from playwright.sync_api import Page, expect

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import KeyRing, Outcome, StatusEvent, TopicNames
from support.brokers import running_node
from support.chromium import NewContext, keep_screenshot
from support.ports import free_port
from support.programs import answers, running
from support.signup_service import PEPPERS

TOPIC = TopicNames("codes")


@dataclass(frozen=True, slots=True)
class Signup:
    """A signup service without senders: the test says what became of its mails."""

    url: str
    database: Path
    kafka: str

    def tell(self, page: Page, *outcomes: Outcome) -> None:
        """Publish outcomes of the mail of the page's signup."""
        challenge = page.evaluate("sessionStorage.getItem('mailtopic.signup')")
        with sqlite3.connect(self.database) as connection:
            (mail_id,) = connection.execute(
                "SELECT mail_id FROM challenges WHERE id = ?", [challenge]
            ).fetchone()
        producer = Producer({"bootstrap.servers": self.kafka})
        for attempt, outcome in enumerate(outcomes, 1):
            event = StatusEvent(
                id=UUID(mail_id), outcome=outcome, at=attempt, attempt=attempt, purpose="signup"
            )
            producer.produce(TOPIC.status, event.encode(), event.key)
        assert producer.flush(30) == 0


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    for node in running_node(tmp_path_factory.mktemp("kafka"), "browser"):
        admin = AdminClient({"bootstrap.servers": node.bootstrap_servers})
        topics = [NewTopic(name, 1, 1) for name in (TOPIC.main, TOPIC.status)]
        for made in admin.create_topics(topics).values():
            made.result(30)
        yield node


@pytest.fixture(scope="module")
def signup(kafka: KafkaNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signup]:
    folder = tmp_path_factory.mktemp("signup")
    (folder / "peppers.json").write_text(json.dumps(PEPPERS))
    (folder / "keys.json").write_text(KeyRing.generate().dump())
    found = Signup(
        f"http://127.0.0.1:{free_port()}/", folder / "signup.db", kafka.bootstrap_servers
    )
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": found.kafka,
        "TOPIC": TOPIC.main,
        "PEPPER__KEYS_FILE": folder / "peppers.json",
        "SEALING__KEYS_FILE": folder / "keys.json",
        "DATABASE__URL": f"sqlite:///{found.database}",
        "HTTP__PORT": found.url.rstrip("/").rpartition(":")[2],
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in settings.items():
            environment.setenv(f"MAILTOPIC_{name}", str(value))
        is_ready = partial(answers, f"{found.url}readyz")
        log = folder / "signup.log"
        with running("mailtopic-signup", log=log, is_ready=is_ready, timeout_s=60):
            yield found


def wait_for_a_mail(page: Page, signup: Signup, address: str) -> None:
    page.goto(signup.url)
    page.locator("#email").fill(address)
    page.locator("#email").press("Enter")
    expect(page.get_by_role("status")).to_have_text("The mail is on its way.")


def test_a_mail_is_deferred_and_then_delivered_before_the_persons_eyes(
    signup: Signup, new_context: NewContext
) -> None:
    page = new_context().new_page()
    wait_for_a_mail(page, signup, "anna@example.com")
    signup.tell(page, Outcome.DEFERRED)
    expect(page.get_by_role("status")).to_contain_text("We try again by ourselves")
    signup.tell(page, Outcome.ACCEPTED)
    expect(page.get_by_role("status")).to_contain_text("The mail has been sent")
    expect(page.get_by_label("Six-digit code")).to_be_focused()


@pytest.mark.parametrize("outcome", [Outcome.BOUNCED, Outcome.SUPPRESSED])
def test_an_address_that_is_refused_can_be_corrected_at_once(
    signup: Signup, new_context: NewContext, outcome: Outcome
) -> None:
    page = new_context().new_page()
    address = f"no.such.{outcome}@example.com"
    wait_for_a_mail(page, signup, address)
    signup.tell(page, outcome)
    expect(page.get_by_role("status")).to_contain_text("The address was refused")
    keep_screenshot(page, f"signup-{outcome}")
    page.get_by_role("button", name="Start again").click()
    expect(page.locator("#email")).to_be_focused()
    expect(page.locator("#email")).to_have_value(address)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome.DEAD, "The mail could not be sent. Please ask for a new code."),
        (Outcome.EXPIRED, "The code has expired. Ask for a new one."),
        (Outcome.SUPERSEDED, "The code has expired. Ask for a new one."),
    ],
)
def test_what_is_not_the_addresss_fault_can_be_tried_again(
    signup: Signup, new_context: NewContext, outcome: Outcome, words: str
) -> None:
    page = new_context().new_page()
    wait_for_a_mail(page, signup, f"{outcome}@example.com")
    signup.tell(page, outcome)
    expect(page.get_by_role("status")).to_have_text(words)
    expect(page.locator("#resend")).to_be_visible()
