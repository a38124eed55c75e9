"""Writes or checks generated files: a generator owns paths and returns their content."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

Files = Mapping[str, str]
"""The text of each file, by its path from the repository's root with slashes."""

RENEW = "python -m mailtopic_observability"


@dataclass(frozen=True, slots=True)
class Generator:
    """Some files, and the patterns that no other file may match.

    A file that `owns` matches but `files` doesn't return is left over from an earlier run: it is
    removed or reported. Every returned path matches one of the patterns.
    """

    name: str
    owns: tuple[str, ...]
    files: Callable[[], Files]

    def expected(self) -> Files:
        """Return the files.

        Raises:
            ValueError: a file is outside of the generator's patterns.
        """
        files = self.files()
        for path in files:
            if not any(Path(path).match(pattern) for pattern in self.owns):
                raise ValueError(f"{self.name} does not own {path}")
        return files


def stale(root: Path, generators: Iterable[Generator]) -> list[str]:
    """Return a line for each file that differs, is missing or is left over."""
    lines = []
    for generator in generators:
        files = generator.expected()
        for path, text in sorted(files.items()):
            if not (root / path).exists():
                lines.append(f"{path} is missing")
            elif (root / path).read_text(encoding="utf-8") != text:
                lines.append(f"{path} is old")
        lines += [f"{path} is left over" for path in _left_over(root, generator, files)]
    return lines


def write(root: Path, generators: Iterable[Generator]) -> list[str]:
    """Write or remove files as needed; return a line for each that was changed."""
    lines = []
    for generator in generators:
        files = generator.expected()
        for path, text in sorted(files.items()):
            place = root / path
            if place.exists() and place.read_text(encoding="utf-8") == text:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
            lines.append(f"wrote {path}")
        for path in _left_over(root, generator, files):
            (root / path).unlink()
            lines.append(f"removed {path}")
    return lines


def _left_over(root: Path, generator: Generator, files: Files) -> list[str]:
    found = {
        path.relative_to(root).as_posix()
        for pattern in generator.owns
        for path in root.glob(pattern)
        if path.is_file()
    }
    return sorted(found - set(files))
