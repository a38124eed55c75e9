"""The program `mailtopic-inbox`."""

import argparse
from importlib.metadata import version
from typing import NoReturn

from mailtopic_inbox.server import PROGRAM, run_inbox
from mailtopic_inbox.settings import InboxSettings
from mailtopic_runtime import configure_logging, describe_settings, load_settings, run_program


def main() -> NoReturn:
    """Take mails and show them until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="An SMTP server for development: keeps every mail and shows it on a page. "
        "It takes no arguments.",
        epilog=describe_settings(InboxSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {version(PROGRAM)}")
    parser.parse_args()
    settings = load_settings(InboxSettings, PROGRAM)
    configure_logging(settings.log)
    run_program(PROGRAM, lambda: run_inbox(settings.inbox))


if __name__ == "__main__":
    main()
