"""What a run of tests prints about itself: what will run, about how long, and each failure at once.

Times are those of the last runs on this machine, kept in pytest's cache. Files that never ran here
count with a rough figure by their tier.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

TIERS = ("unit", "browser", "faults", "integration", "cluster")
"""In the order in which they run: units first, because they are quick to say what is broken."""

_SECONDS_A_TEST = {
    "unit": 0.15,
    "browser": 4.0,
    "faults": 45.0,
    "integration": 2.0,
    "cluster": 20.0,
}
"""Until a machine has figures of its own."""

_CACHE_KEY = "mailtopic/seconds"


def tier_of(path: str) -> str:
    """Return the tier of a test's id or its file's path below the repository."""
    parts = path.split("/")
    return parts[1] if len(parts) > 1 and parts[0] == "tests" else ""


def in_order(items: list[pytest.Item]) -> None:
    """Put tests in the order of their tiers, and leave it as it is within each."""
    places = {tier: place for place, tier in enumerate(TIERS)}
    items.sort(key=lambda item: places.get(tier_of(item.nodeid), len(TIERS)))


def forecast(node_ids: Iterable[str], known: dict[str, float], *, processes: int = 1) -> str:
    """Return how many tests of each tier there are, and about how long they take.

    Args:
        node_ids: of the tests that will run.
        known: seconds that a test of a file took on the average, by the file's path.
        processes: how many run tests at the same time.
    """
    tests = list(node_ids)
    counts = Counter(map(tier_of, tests))
    seconds = 0.0
    for each in tests:
        file = each.partition("::")[0]
        seconds += known.get(file, _SECONDS_A_TEST.get(tier_of(each), 0.0))
    shares = [f"{counts[tier]:,} {tier}" for tier in TIERS if counts[tier]]
    return f"tests: {', '.join(shares) or 'none'}; {_duration(seconds / processes)}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min"


class RunReport:
    """The plugin; one a run, in the process that the user sees."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._cache: pytest.Cache | None = getattr(config, "cache", None)
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._ran: defaultdict[str, set[str]] = defaultdict(set)
        self._has_told = False

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> str | None:
        """Print the forecast before the first test, unless other processes collect the tests."""
        if self._processes > 1:
            return None
        return forecast([item.nodeid for item in items], self._known())

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Print the forecast when the first of several processes has the tests."""
        if not self._has_told:
            self._has_told = True
            self._say(forecast(ids, self._known(), processes=self._processes))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the time, and show a failure now: the end may be an hour away."""
        file = report.nodeid.partition("::")[0]
        self._spent[file] += report.duration
        self._ran[file].add(report.nodeid)
        if report.failed:
            self._say(f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext}")

    def pytest_sessionfinish(self) -> None:
        """Keep what was measured for the next forecast."""
        if self._cache is not None and self._ran:
            measured = {file: self._spent[file] / len(ran) for file, ran in self._ran.items()}
            self._cache.set(_CACHE_KEY, self._known() | measured)

    @property
    def _processes(self) -> int:
        return max(1, len(getattr(self._config.option, "tx", None) or ()))

    def _known(self) -> dict[str, float]:
        found: Any = self._cache.get(_CACHE_KEY, {}) if self._cache is not None else {}
        return found if isinstance(found, dict) else {}

    def _say(self, text: str) -> None:
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(text)
