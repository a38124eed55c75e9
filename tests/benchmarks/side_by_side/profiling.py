"""Which functions a peer in Python spends its time in, by py-spy's samples."""

import subprocess
from collections import Counter
from pathlib import Path

from benchmarks.side_by_side.places import VENV

SECONDS = 3
_RATE = 250


class Profiler:
    """Attaches once, when the first mails have come."""

    def __init__(self, output: Path, after_mails: int) -> None:
        self.output = output
        self._after_mails = after_mails
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, pid: int, mails: int) -> None:
        """Attach when it is time."""
        if self._process is None and mails >= self._after_mails:
            command = [str(VENV / "bin/py-spy"), "record", "--pid", str(pid), "--format", "raw"]
            command += ["--duration", str(SECONDS), "--rate", str(_RATE), "--nonblocking"]
            self._process = subprocess.Popen(  # noqa: S603 - the peers' own tool
                [*command, "--output", str(self.output)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def lines(self, most: int = 40) -> list[str]:
        """Return where the time went: by itself, and with all that was called."""
        if self._process is None or self._process.wait() or not self.output.exists():
            return ["py-spy could not attach (it needs the right to trace processes)"]
        own, whole, total = Counter[str](), Counter[str](), 0
        for line in self.output.read_text().splitlines():
            stack, _, samples = line.rpartition(" ")
            frames = stack.split(";")
            own[frames[-1]] += int(samples)
            total += int(samples)
            for frame in set(frames):
                whole[frame] += int(samples)
        found = ["  itself  with callees"]
        for frame, count in own.most_common(most):
            found.append(f"  {count / total:6.1%}  {whole[frame] / total:6.1%}  {frame}")
        found.append("  with callees")
        for frame, count in whole.most_common(most):
            found.append(f"          {count / total:6.1%}  {frame}")
        return found
