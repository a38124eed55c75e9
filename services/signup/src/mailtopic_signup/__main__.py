"""The program mailtopic-signup."""

import argparse
import sys
from importlib.metadata import version

from mailtopic_runtime import describe_settings, load_settings, run_program
from mailtopic_signup.admin import lift_suppression, list_suppressions, make_token
from mailtopic_signup.bootstrap import migrate, run
from mailtopic_signup.settings import MigrateSettings, SignupSettings

PROGRAM = "mailtopic-signup"
_MIGRATE = "Bring the database's tables up to date, and end."
_TOKEN = "Make a service token for POST /v1/mails."  # noqa: S105 - words about one
_SUPPRESSIONS = "List recipients that get no mail after a bounce, or let one have mails again."


def main() -> None:
    """Serve the signup API and publish its mails until SIGTERM."""
    given = _parser().parse_args()
    match given.command:
        case "migrate":
            program = f"{PROGRAM} migrate"
            settings = load_settings(MigrateSettings, program)
            run_program(program, lambda: migrate(settings))
        case "token":
            sys.exit(make_token(given.id, given.topics))
        case "suppressions":
            _suppressions(given)
        case _:
            service = load_settings(SignupSettings, PROGRAM)
            run_program(PROGRAM, lambda: run(service))


def _suppressions(given: argparse.Namespace) -> None:
    program = f"{PROGRAM} suppressions"
    settings = load_settings(MigrateSettings, program)
    if given.action == "list":
        run_program(program, lambda: list_suppressions(settings, as_json=given.json))
    run_program(program, lambda: lift_suppression(settings, given.address))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=main.__doc__,
        epilog=describe_settings(SignupSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {version(PROGRAM)}")
    commands = parser.add_subparsers(
        dest="command", title="commands", metavar="[migrate | token | suppressions]"
    )
    commands.add_parser(
        "migrate",
        help=_MIGRATE,
        description=f"{_MIGRATE} Waits for a database that doesn't answer; needs no Kafka.",
        epilog=describe_settings(MigrateSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    token = commands.add_parser(
        "token",
        help=_TOKEN,
        description=f"{_TOKEN} Writes JSON: the token, which is shown this once and belongs to the "
        "service, and its entry for the file that MAILTOPIC_MAILS__TOKENS_FILE names.",
    )
    token.add_argument("id", help="what logs and the database call it, such as billing-1")
    token.add_argument("topics", nargs="+", metavar="topic", help="a topic it may send mails to")
    _add_suppressions(commands)
    return parser


def _add_suppressions(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "suppressions",
        help=_SUPPRESSIONS,
        description=_SUPPRESSIONS,
        epilog=describe_settings(MigrateSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | lift")
    listing = "Write who gets no mail just now, the newest first; addresses are redacted."
    lister = actions.add_parser("list", help=listing, description=listing)
    lister.add_argument("--json", action="store_true", help="one JSON object a line")
    lifting = "Let an address have mails again; exit code 1 if it was not suppressed."
    lifter = actions.add_parser("lift", help=lifting, description=lifting)
    lifter.add_argument("address", help="the whole address")


if __name__ == "__main__":
    main()
