"""The program `mailtopic-operator`."""

import argparse
from importlib.metadata import version
from typing import NoReturn

from mailtopic_operator.bootstrap import run_operator
from mailtopic_operator.settings import OperatorSettings
from mailtopic_runtime import configure_logging, describe_settings, load_settings, run_program

PROGRAM = "mailtopic-operator"


def main() -> NoReturn:
    """Reconcile MailTopics until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="Reconciles MailTopics: topics in Kafka, senders in Kubernetes. It takes no"
        " arguments; in a pod it logs in by its service account, elsewhere by KUBECONFIG.",
        epilog=describe_settings(OperatorSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {_version()}")
    parser.parse_args()
    settings = load_settings(OperatorSettings, PROGRAM)
    configure_logging(settings.log)
    run_program(PROGRAM, lambda: run_operator(settings))


def _version() -> str:
    return version("mailtopic-operator")


if __name__ == "__main__":
    main()
