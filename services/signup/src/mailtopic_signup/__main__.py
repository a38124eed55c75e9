"""The program mailtopic-signup."""

import argparse
from importlib.metadata import version

from mailtopic_runtime import describe_settings, load_settings, run_program
from mailtopic_signup.bootstrap import run
from mailtopic_signup.settings import SignupSettings

PROGRAM = "mailtopic-signup"


def main() -> None:
    """Serve the signup API and publish its mails until SIGTERM."""
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=main.__doc__,
        epilog=describe_settings(SignupSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {version(PROGRAM)}")
    parser.parse_args()
    settings = load_settings(SignupSettings, PROGRAM)
    run_program(PROGRAM, lambda: run(settings))


if __name__ == "__main__":
    main()
