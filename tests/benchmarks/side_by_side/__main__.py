"""Mails a second and what they cost, ours beside what people use: side by side in one run.

`PYTHONPATH=tests python -m benchmarks.side_by_side --help`
"""

import argparse
import sys
import time

from benchmarks.side_by_side.peer_programs import PEERS
from benchmarks.side_by_side.places import MADE, RESULTS
from benchmarks.side_by_side.profiling import Profiler
from benchmarks.side_by_side.report import section, write
from benchmarks.side_by_side.whole_run import Extent, run_whole
from benchmarks.side_by_side.workshop import opened

_DELAYS_MS = (0, 5, 50)
_AFTER_MAILS = 500


def main() -> None:
    """Measure and say; the whole run is written into docs/benchmarks.md."""
    arguments = _arguments()
    began_s = time.monotonic()

    def report(text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began_s:6.1f} s  {text}\n")
        sys.stdout.flush()

    extent = Extent(
        peers=arguments.peers,
        delays_ms=arguments.delays,
        connections=arguments.connections,
        wide=None if arguments.quick else 128,
        rounds=arguments.rounds or (1 if arguments.quick else 5),
        round_s=arguments.round_s,
        steady_runs=0 if arguments.profile else 1 if arguments.quick else 3,
    )
    profiler = Profiler(MADE / "profile.txt", _AFTER_MAILS) if arguments.profile else None
    with opened([PEERS[name] for name in arguments.peers], report) as workshop:
        workshop.settings.update(arguments.set)
        watch = profiler or (lambda _pid, _mails: None)
        results = run_whole(workshop, extent, report=report, watch=watch)
    if profiler:
        sys.stdout.write("\n".join(profiler.lines()) + "\n")
    sys.stdout.write("\n".join(section(results)) + "\n")
    results.save(arguments.output)
    if arguments.output == RESULTS:
        write(results)
        report("docs/benchmarks.md and its picture are written")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "benchmarks.side_by_side",
        description="Measures our sender beside others: mails a second, CPU, memory, latency.",
        epilog="A run of everything is written into docs/benchmarks.md; a part of it, or a quick "
        "one, goes to artefacts/benchmarks only.",
    )
    parser.add_argument("--peers", type=_names, default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument(
        "--delays", type=_numbers, default=list(_DELAYS_MS), help="of the relay, ms: 0,5,50"
    )
    parser.add_argument("--rounds", type=int, help="5; with --quick 1")
    parser.add_argument("--round-s", type=float, default=4.0, help="how long one takes, about: 4")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--quick", action="store_true", help="a look in minutes, no result")
    parser.add_argument("--profile", action="store_true", help="py-spy on the first peer")
    parser.add_argument(
        "--set", type=_setting, action="append", default=[], help="NAME=VALUE for our sender"
    )
    arguments = parser.parse_args()
    is_whole = (arguments.peers, arguments.delays) == (list(PEERS), list(_DELAYS_MS))
    is_whole = is_whole and not (arguments.quick or arguments.set or arguments.profile)
    arguments.output = RESULTS if is_whole else RESULTS.with_name("part.json")
    return arguments


def _names(text: str) -> list[str]:
    names = text.split(",")
    if strange := set(names) - PEERS.keys():
        raise argparse.ArgumentTypeError(f"no such peer: {', '.join(sorted(strange))}")
    return names


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _setting(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


if __name__ == "__main__":
    main()
