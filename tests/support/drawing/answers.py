"""What a dashboard's queries found: the series of each panel, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from support.dashboards import filled_in, legend_of
from support.prometheus import Prometheus, Series

Json = dict[str, Any]
_POINTS = 220


@dataclass(frozen=True, slots=True)
class Window:
    """What is shown: from when to when, Unix times in seconds, and the scrapes' interval."""

    start_s: float
    end_s: float
    scrape_s: float

    @property
    def step_s(self) -> float:
        """From one drawn point to the next, no shorter than from scrape to scrape."""
        return max(round((self.end_s - self.start_s) / _POINTS), round(self.scrape_s), 1)

    @property
    def rate_interval_s(self) -> float:
        """What Grafana calls $__rate_interval."""
        return max(self.step_s + self.scrape_s, 4 * self.scrape_s)


@dataclass(frozen=True, slots=True)
class Answers:
    """Asks a Prometheus what panels ask it, with Grafana's variables filled in."""

    prometheus: Prometheus
    window: Window
    variables: Mapping[str, str]

    def of(self, target: Json) -> list[tuple[str, Series]]:
        """Return a query's series by the names that the legend shows."""
        expression = filled_in(
            target["expr"],
            rate_interval_s=self.window.rate_interval_s,
            range_s=self.window.end_s - self.window.start_s,
            variables=self.variables,
        )
        if target["instant"]:
            found = self.prometheus.query(expression, at_s=self.window.end_s)
        else:
            found = self.prometheus.query_range(
                expression,
                start_s=self.window.start_s,
                end_s=self.window.end_s,
                step_s=self.window.step_s,
            )
        return [(legend_of(each.labels, target["legendFormat"]), each) for each in found]

    def of_panel(self, panel: Json) -> list[tuple[str, Series]]:
        """Return the series of all of a panel's queries, in their order."""
        return [each for target in panel["targets"] for each in self.of(target)]
