"""How near a sender comes to what a relay takes, in virtual time.

    PYTHONPATH=tests .venv/bin/python -m benchmarks.pace [--quick] [--seed N] [NAME …]

prints a table: for each relay, one sender and three that share it without knowing of each other.
With names only the relays whose name contains all of them. --quick leaves out 2,000 mails/s.
"""

import argparse

from benchmarks.pace.scenarios import limited, others, run


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.pace")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rates = (1, 14, 200) if arguments.quick else (1, 14, 200, 2000)
    scenarios = [each for rate in rates for each in limited(rate)] + others()
    print(  # noqa: T201 - its output
        "| relay | senders | taken ÷ limit | refusals a mail | smallest share "
        "| taken ÷ limit, every 30 s |\n|---|---|---|---|---|---|"
    )
    for scenario in scenarios:
        if not all(name in scenario.name for name in arguments.names):
            continue
        for senders in (1, 3):
            outcome = run(scenario, senders=senders, seed=arguments.seed)
            curve = " ".join(f"{part:.2f}" for part in outcome.curve)
            print(  # noqa: T201 - its output
                f"| {scenario.name} | {senders} | {outcome.taken:.2f} | {outcome.refusals:.3f} "
                f"| {min(outcome.shares):.2f} | {curve} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
