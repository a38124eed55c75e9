"""The processes of the pipeline, and their settings.

Each is started as a program of its own and gets all its settings from the environment.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from mailtopic_cli.devstack.ports import HOST, Ports
from mailtopic_cli.devstack.state_dir import StateDir
from mailtopic_cli.inbox import COMMAND, inbox_environment

TOPIC = "mails"
_FROM_ADDRESS = "no-reply@mailtopic.example"
# The variables of the consumer that MailTopic replaced; senders still understand them.
_ORIGINAL = ("KAFKA_BROKERS", "KAFKA_TOPIC", "MAIL_")


@dataclass(frozen=True, slots=True)
class Service:
    """One process: `command` without the interpreter, `env` on top of the base environment."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    ready_url: str

    def full_command(self) -> list[str]:
        """The command, run by this interpreter."""
        return [sys.executable, *self.command]


def base_environment() -> dict[str, str]:
    """This process's environment without settings that are not meant for the devstack.

    Only what concerns logs is passed on: a relay or a broker that is set in the shell belongs
    to something else.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("MAILTOPIC_LOG__") or not name.startswith(("MAILTOPIC_", *_ORIGINAL))
    }
    return {"MAILTOPIC_LOG__FORMAT": "text", "PYTHONUNBUFFERED": "1", **kept}


def services(state: StateDir, ports: Ports) -> list[Service]:
    """All processes except Kafka, in display order."""
    return [
        _inbox(state, ports),
        _signup(state, ports),
        *(_sender(state, ports, number) for number in range(1, len(ports.senders) + 1)),
    ]


def _inbox(state: StateDir, ports: Ports) -> Service:
    env = inbox_environment(
        state.inbox,
        http_port=ports.inbox,
        smtp_port=ports.smtp,
        signup_url=f"http://{HOST}:{ports.signup}/",
    )
    return Service("inbox", COMMAND, env, f"http://{HOST}:{ports.inbox}/readyz")


def _signup(state: StateDir, ports: Ports) -> Service:
    env = {
        "MAILTOPIC_HTTP__HOST": HOST,
        "MAILTOPIC_HTTP__PORT": str(ports.signup),
        "MAILTOPIC_DATABASE__URL": f"sqlite:///{state.database}",
        "MAILTOPIC_PEPPER__KEYS_FILE": str(state.pepper_keys),
        "MAILTOPIC_PAGES__INBOX_URL": f"http://{HOST}:{ports.inbox}/",
        # On this machine all requests come from the same client.
        "MAILTOPIC_CLIENTS__SIGNUPS_PER_MINUTE": "0",
        "MAILTOPIC_CLIENTS__VERIFIES_PER_FIVE_MINUTES": "0",
        **_shared(state, ports),
    }
    url = f"http://{HOST}:{ports.signup}/readyz"
    return Service("signup", ("-m", "mailtopic_signup"), env, url)


def _sender(state: StateDir, ports: Ports, number: int) -> Service:
    port = ports.senders[number - 1]
    env = {
        "MAILTOPIC_SMTP__HOST": HOST,
        "MAILTOPIC_SMTP__PORT": str(ports.smtp),
        "MAILTOPIC_SMTP__SECURITY": "StartTLS",
        "MAILTOPIC_SMTP__CA_FILE": str(state.ca_file),
        "MAILTOPIC_FROM__NAME": "MailTopic",
        "MAILTOPIC_FROM__ADDRESS": _FROM_ADDRESS,
        "MAILTOPIC_METRICS__PORT": str(port),
        **_shared(state, ports),
    }
    url = f"http://{HOST}:{port}/readyz"
    return Service(f"sender-{number}", ("-m", "mailtopic_sender"), env, url)


def _shared(state: StateDir, ports: Ports) -> dict[str, str]:
    return {
        "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": f"{HOST}:{ports.kafka}",
        "MAILTOPIC_TOPIC": TOPIC,
        "MAILTOPIC_SEALING__KEYS_FILE": str(state.sealing_keys),
    }
