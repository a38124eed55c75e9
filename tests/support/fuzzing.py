"""A small fuzzer: mutates a corpus for a while, and shows the input that broke a promise.

The corpus of a target is its seeds and the files in `tests/unit/fuzz/corpus/TARGET`, in hex. Add
inputs that failed there, so that they are always tried first.

MAILTOPIC_TEST_FUZZ_S says for how many seconds each file of targets is fuzzed: the targets share
them. MAILTOPIC_TEST_FUZZ_SEED repeats a run.
"""

import os
import random
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

CORPUS = Path(__file__).parent.parent / "unit" / "fuzz" / "corpus"
FUZZ_S = float(os.environ.get("MAILTOPIC_TEST_FUZZ_S", "5"))
SEED = int(os.environ.get("MAILTOPIC_TEST_FUZZ_SEED", "0")) or random.SystemRandom().randrange(
    2**32
)
Targets = Mapping[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]]
"""By name: what checks an input, and what makes the seeds."""

_NUMBERS = (0, 1, -1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
_MOST_BYTES = 20_000
_MOST_STEPS = 6


def corpus(target: str, seeds: Iterable[bytes]) -> list[bytes]:
    """What to start from, what was found first."""
    found = [bytes.fromhex(path.read_text()) for path in sorted((CORPUS / target).glob("*.hex"))]
    return [*found, *seeds]


def fuzz_target(targets: Targets, target: str) -> str:
    """Fuzz one of a file's targets for its share of the time; return how much was tried."""
    check, seeds = targets[target]
    count = fuzz(check, corpus(target, seeds()), seconds=FUZZ_S / len(targets), seed=SEED)
    return f"{count:,} inputs with seed {SEED}"


def fuzz(check: Callable[[bytes], None], inputs: list[bytes], *, seconds: float, seed: int) -> int:
    """Check each input, then mutants of them until the time is over; return how many.

    Raises:
        AssertionError: an input broke something; it is in the text, in hex.
    """
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    end = time.monotonic() + seconds
    for data in inputs:
        _try(check, data)
    count = len(inputs)
    while time.monotonic() < end:
        _try(check, mutate(chance, inputs))
        count += 1
    return count


def mutate(chance: random.Random, inputs: list[bytes]) -> bytes:
    """Return an input that is like one or two of those, with a few changes."""
    data = bytearray(chance.choice(inputs))
    for _ in range(chance.randint(1, _MOST_STEPS)):
        place = chance.randint(0, len(data))
        step = chance.randrange(7)
        if step == 0 and data:
            data[place % len(data)] ^= 1 << chance.randrange(8)
        elif step == 1 and data:
            data[place % len(data)] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
        elif step == 2:
            data[place:place] = chance.randbytes(chance.randint(1, 8))
        elif step == 3:
            del data[place : place + chance.randint(1, 16)]
        elif step == 4:
            size = chance.choice("hiq")
            number = chance.choice(_NUMBERS) & ((1 << 8 * struct.calcsize(size)) - 1)
            packed = number.to_bytes(struct.calcsize(size), "big")
            data[place : place + len(packed)] = packed
        elif step == 5:
            other = chance.choice(inputs)
            begin = chance.randint(0, len(other))
            data[place:] = other[begin:]
        else:
            part = data[place : place + chance.randint(1, 64)]
            data[place:place] = part
    return bytes(data[:_MOST_BYTES])


def _try(check: Callable[[bytes], None], data: bytes) -> None:
    try:
        check(data)
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}; the input: {data.hex()}") from error
