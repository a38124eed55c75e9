"""A run of tests says at its start what it will run, and of each failure at once."""

import subprocess
import sys
from pathlib import Path

from support.run_report import forecast

ROOT = Path(__file__).parents[2]
CONFTEST = """
from support.run_report import RunReport, in_order

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(RunReport(config))

def pytest_collection_modifyitems(items):
    in_order(items)
"""
FAILING = "def test_first():\n    assert 1 == 2\n\ndef test_second():\n    print('second ran')\n"


def test_the_forecast_counts_by_tier_and_goes_by_the_last_run() -> None:
    tests = [*(f"tests/unit/test_a.py::test_{n}" for n in range(1200)), "tests/faults/test_b.py::t"]
    known = {"tests/unit/test_a.py": 0.1, "tests/faults/test_b.py": 60.0}
    assert forecast(tests, known) == "tests: 1,200 unit, 1 faults; about 3 min"
    assert forecast(tests, known, processes=2) == "tests: 1,200 unit, 1 faults; about 90 s"
    assert forecast(["tests/unit/test_a.py::t"], {}) == "tests: 1 unit; about 1 s"
    assert forecast([], {}) == "tests: none; about 1 s"


def run(folder: Path, *arguments: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "-s", "tests", *arguments]
    done = subprocess.run(  # noqa: S603 - pytest itself
        command,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT / "tests"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout.splitlines()


def line_of(lines: list[str], text: str) -> int:
    return next(number for number, line in enumerate(lines) if text in line)


def test_units_run_first_and_a_failure_is_shown_when_it_happens(tmp_path: Path) -> None:
    for tier in ("faults", "unit"):
        (tmp_path / "tests" / tier).mkdir(parents=True)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "tests" / "unit" / "test_u.py").write_text(FAILING)
    (tmp_path / "tests" / "faults" / "test_f.py").write_text("def test_f():\n    print('f ran')\n")
    lines = run(tmp_path)
    told = line_of(lines, "tests: 2 unit, 1 faults; about 45 s")
    failed = line_of(lines, "FAILED tests/unit/test_u.py::test_first (call)")
    assert told < failed < line_of(lines, "second ran") < line_of(lines, "f ran")
    assert "assert 1 == 2" in "\n".join(lines[failed : line_of(lines, "second ran")])
    # The second run knows how long the first one took.
    line_of(run(tmp_path), "tests: 2 unit, 1 faults; about 1 s")
    line_of(run(tmp_path, "-n", "2"), "tests: 2 unit, 1 faults; about 1 s")
