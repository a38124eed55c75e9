"""The program `mailtopic-sender`."""

import argparse
from importlib.metadata import version
from typing import NoReturn

import uvloop

from mailtopic_runtime import configure_logging, describe_settings, load_settings, run_program
from mailtopic_sender.bootstrap import run_sender
from mailtopic_sender.settings import SenderSettings

PROGRAM = "mailtopic-sender"


def main() -> NoReturn:
    """Deliver mails until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="Delivers the mails of one Kafka topic by SMTP. It takes no arguments.",
        epilog=describe_settings(SenderSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {_version()}")
    parser.parse_args()
    settings = load_settings(SenderSettings, PROGRAM)
    configure_logging(settings.log)
    # TLS and sockets are most of a mail's price, and cost half as much in this loop.
    run_program(PROGRAM, lambda: run_sender(settings), loop_factory=uvloop.new_event_loop)


def _version() -> str:
    return version("mailtopic-sender")


if __name__ == "__main__":
    main()
