"""How signups fare beside clients that hold connections: `python -m benchmarks.signup_siege`.

Prints p99 and errors of 20 signups a second, and the longest /livez, first in a quiet run and then
beside each attack of support/http_siege.py, the bytes of log that it cost, and the most memory
that the service has had until then.
"""

import argparse
import asyncio
import contextlib
import resource
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from support.hostile_bench import peak_kb
from support.http_siege import ATTACKS, behave, besieged
from support.signup_process import SignupProcess

_NO_KAFKA = "127.0.0.1:1"


@contextlib.asynccontextmanager
async def _besiegers(port: int, connections: int, attack: str) -> AsyncIterator[None]:
    """A process of their own: what they cost must not count as the good ones' waiting."""
    arguments = ("--besiege", str(port), attack, "--connections", str(connections))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.signup_siege", *arguments
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def _besiege(port: int, attack: str, connections: int) -> None:
    async with besieged(port, connections, [attack]):
        await asyncio.Event().wait()


async def _run(connections: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process = SignupProcess(Path(folder), _NO_KAFKA, "mails")
        await process.start()
        try:
            quiet = await behave(process.port, signups_per_s=20, seconds=seconds)
            sys.stdout.write(f"quiet: {quiet.told()}" + "\n")
            for attack in ATTACKS:
                before = process.log_file.stat().st_size
                async with _besiegers(process.port, connections, attack):
                    await asyncio.sleep(3)
                    good = await behave(process.port, signups_per_s=20, seconds=seconds)
                written = process.log_file.stat().st_size - before
                assert process.process is not None
                peak_mib = peak_kb(process.process.pid) / 1024
                told = f"{good.told()}; {written} bytes of log; {peak_mib:.0f} MiB at most"
                sys.stdout.write(f"{attack}: {told}" + "\n")
        finally:
            await process.kill()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--besiege", nargs=2, metavar=("PORT", "ATTACK"), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if given.besiege:
        port, attack = given.besiege
        asyncio.run(_besiege(int(port), attack, given.connections))
    asyncio.run(_run(given.connections, given.seconds))


if __name__ == "__main__":
    main()
