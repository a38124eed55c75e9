"""The guide's table of what tracing costs is as new as the code that it measures."""

from benchmarks.tracing_cost import MEASURED, digest, written_digest


def test_the_table_is_not_older_than_the_code() -> None:
    command = "PYTHONPATH=tests .venv/bin/python -m benchmarks.tracing_cost --write"
    names = ", ".join(MEASURED)
    assert written_digest() == digest(), f"{names} changed since it was measured; run: {command}"
