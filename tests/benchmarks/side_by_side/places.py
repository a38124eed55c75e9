"""Where the benchmark's parts lie, and where it puts what it makes."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
HERE: Final = Path(__file__).parent
MADE: Final = ROOT / "artefacts/benchmarks"
"""Everything that is fetched, built and measured; git ignores it, `make clean` drops it."""
VENV: Final = MADE / "venv"
NODE: Final = MADE / "node"
RUNS: Final = MADE / "runs"
RESULTS: Final = MADE / "side-by-side.json"
CURVES: Final = MADE / "curves.json"
