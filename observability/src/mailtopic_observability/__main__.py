"""`python -m mailtopic_observability [--check]` in a clone.

Writes all generated files. With --check nothing is written; the exit code is 1, with a line for
each file, if something would be.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from mailtopic_observability.generate import RENEW, stale, write
from mailtopic_observability.registry import GENERATORS

_ROOT: Final = Path(__file__).parents[3]


def main() -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(prog=RENEW, description="Write what is generated.")
    parser.add_argument("--check", action="store_true", help="only say what is old")
    arguments = parser.parse_args()
    if not arguments.check:
        for line in write(_ROOT, GENERATORS):
            print(line)  # noqa: T201 - the tool's output
        return 0
    lines = stale(_ROOT, GENERATORS)
    for line in lines:
        print(f"{line}; renew it with: {RENEW}", file=sys.stderr)  # noqa: T201 - the tool's output
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
