"""When an image counts as unchanged."""

import os
from pathlib import Path

import pytest

from mailtopic_cli.cluster.images.builder import fingerprint_of
from mailtopic_cli.cluster.images.catalogue import catalogue
from mailtopic_cli.cluster.images.fingerprint import fingerprint


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "src/deep").mkdir(parents=True)
    (tmp_path / "src/deep/a.py").write_text("a")
    (tmp_path / "src/b.py").write_text("b")
    return tmp_path


def test_times_and_caches_do_not_count(tree: Path) -> None:
    before = fingerprint(tree, ["src"], "fact")
    os.utime(tree / "src/b.py", (0, 0))
    (tree / "src/__pycache__").mkdir()
    (tree / "src/__pycache__/b.pyc").write_text("compiled")
    assert fingerprint(tree, ["src"], "fact") == before


def test_content_names_rights_and_facts_count(tree: Path) -> None:
    seen = {fingerprint(tree, ["src"], "fact"), fingerprint(tree, ["src"], "other fact")}
    (tree / "src/b.py").write_text("c")
    seen.add(fingerprint(tree, ["src"], "fact"))
    (tree / "src/b.py").rename(tree / "src/c.py")
    seen.add(fingerprint(tree, ["src"], "fact"))
    (tree / "src/c.py").chmod(0o755)
    seen.add(fingerprint(tree, ["src"], "fact"))
    assert len(seen) == 5


def test_a_source_that_is_missing_is_an_error(tree: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fingerprint(tree, ["src", "gone"])


def test_no_two_images_and_no_two_engines_share_a_fingerprint() -> None:
    found = [fingerprint_of(image, engine) for image in catalogue() for engine in ("a", "buildah")]
    assert len(set(found)) == len(found)
