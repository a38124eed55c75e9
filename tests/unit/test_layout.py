"""The shape of the tree that tools and images rely on."""

import operator
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_operator_folder_does_not_shadow_the_standard_library() -> None:
    assert operator.__file__ is not None
    assert Path(operator.__file__).is_relative_to(sysconfig.get_path("stdlib"))


def test_no_python_file_lies_directly_in_the_operator_folder() -> None:
    assert list((ROOT / "operator").glob("*.py")) == []


def test_no_test_folder_is_called_operator_or_is_a_package() -> None:
    tests = ROOT / "tests"
    assert [path for path in tests.rglob("operator") if path.is_dir()] == []
    assert list(tests.rglob("__init__.py")) == []


def test_every_member_ships_its_types() -> None:
    for member in (ROOT / "services").iterdir():
        if (member / "pyproject.toml").exists():
            assert (member / "src" / f"mailtopic_{member.name}" / "py.typed").exists(), member.name


def test_no_source_file_is_longer_than_four_hundred_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (ROOT / "services").rglob("src/**/*.py")
    }
    assert {name: n for name, n in lengths.items() if n > 400} == {}


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
