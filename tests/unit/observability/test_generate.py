"""Generated files are written, checked and taken away."""

from pathlib import Path

import pytest

from mailtopic_observability.generate import Generator, stale, write

TWO = Generator("two", ("out/*.txt",), lambda: {"out/a.txt": "1\n", "out/b.txt": "2\n"})


def test_what_was_written_is_not_stale(tmp_path: Path) -> None:
    assert stale(tmp_path, [TWO]) == ["out/a.txt is missing", "out/b.txt is missing"]
    assert write(tmp_path, [TWO]) == ["wrote out/a.txt", "wrote out/b.txt"]
    assert stale(tmp_path, [TWO]) == []
    assert write(tmp_path, [TWO]) == []


def test_an_edited_file_is_named_and_a_check_leaves_it_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, [TWO])
    (tmp_path / "out/b.txt").write_text("3\n")
    assert stale(tmp_path, [TWO]) == ["out/b.txt is old"]
    assert (tmp_path / "out/b.txt").read_text() == "3\n"
    assert write(tmp_path, [TWO]) == ["wrote out/b.txt"]


def test_a_file_that_nobody_generates_any_more_is_removed(tmp_path: Path) -> None:
    write(tmp_path, [TWO])
    one = Generator("one", TWO.owns, lambda: {"out/a.txt": "1\n"})
    assert stale(tmp_path, [one]) == ["out/b.txt is left over"]
    assert write(tmp_path, [one]) == ["removed out/b.txt"]
    assert not (tmp_path / "out/b.txt").exists()


def test_no_generator_touches_what_it_does_not_own(tmp_path: Path) -> None:
    greedy = Generator("greedy", ("out/*.txt",), lambda: {"README.md": "mine\n"})
    with pytest.raises(ValueError, match=r"greedy does not own README\.md"):
        write(tmp_path, [greedy])
