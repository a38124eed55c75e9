"""The program mailtopic-signup."""

import argparse
from importlib.metadata import version

from mailtopic_runtime import describe_settings, load_settings, run_program
from mailtopic_signup.bootstrap import migrate, run
from mailtopic_signup.settings import MigrateSettings, SignupSettings

PROGRAM = "mailtopic-signup"
_MIGRATE = "Bring the database's tables up to date, and end."


def main() -> None:
    """Serve the signup API and publish its mails until SIGTERM."""
    command = _parser().parse_args().command
    if command == "migrate":
        program = f"{PROGRAM} migrate"
        migrate_settings = load_settings(MigrateSettings, program)
        run_program(program, lambda: migrate(migrate_settings))
    settings = load_settings(SignupSettings, PROGRAM)
    run_program(PROGRAM, lambda: run(settings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=main.__doc__,
        epilog=describe_settings(SignupSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {version(PROGRAM)}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="[migrate]")
    commands.add_parser(
        "migrate",
        help=_MIGRATE,
        description=f"{_MIGRATE} Waits for a database that doesn't answer; needs no Kafka.",
        epilog=describe_settings(MigrateSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


if __name__ == "__main__":
    main()
