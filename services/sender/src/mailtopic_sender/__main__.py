"""The program `mailtopic-sender`."""

import argparse
from importlib.metadata import version
from typing import NoReturn

import uvloop

from mailtopic_contract import Address, ContractError, parse_address
from mailtopic_runtime import configure_logging, describe_settings, load_settings, run_program
from mailtopic_sender.bootstrap import run_sender
from mailtopic_sender.check import CheckOptions, run_check
from mailtopic_sender.settings import MailSettings, SenderSettings

PROGRAM = "mailtopic-sender"
_CHECK = "Open a session to each relay, log in, print each step, and end. Needs no Kafka."


def main() -> NoReturn:
    """Deliver mails until SIGTERM or SIGINT."""
    given = _parser().parse_args()
    if given.command == "check":
        _check(given)
    settings = load_settings(SenderSettings, PROGRAM)
    configure_logging(settings.log)
    # TLS and sockets are most of a mail's cost, and take half as long in this loop.
    run_program(PROGRAM, lambda: run_sender(settings), loop_factory=uvloop.new_event_loop)


def _check(given: argparse.Namespace) -> NoReturn:
    program = f"{PROGRAM} check"
    settings = load_settings(MailSettings, program)
    options = CheckOptions(given.json, given.send_to, given.relay, given.timeout)
    run_program(program, lambda: run_check(settings, options), loop_factory=uvloop.new_event_loop)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="Delivers the mails of one Kafka topic by SMTP.",
        epilog=describe_settings(SenderSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {_version()}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="[check]")
    check = commands.add_parser(
        "check",
        help=_CHECK,
        description=f"{_CHECK} The exit code is 0, or 1 when a relay can't be used.",
        epilog=describe_settings(MailSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("--json", action="store_true", help="one JSON object a line")
    check.add_argument(
        "--send-to",
        type=_address,
        metavar="ADDRESS",
        help="send one mail there, with the code 000000, by the first relay that can be used; "
        "no mail is sent without it",
    )
    check.add_argument("--relay", metavar="NAME", help="check this one of several relays only")
    check.add_argument(
        "--timeout",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="at most so long for each relay (60)",
    )
    return parser


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ContractError as error:
        raise argparse.ArgumentTypeError(f"is not an e-mail address: {error}") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:  # noqa: PLR2004 - an hour is more than any relay is waited for
        raise argparse.ArgumentTypeError("must be seconds above 0, at most 3600")
    return seconds


def _version() -> str:
    return version("mailtopic-sender")


if __name__ == "__main__":
    main()
