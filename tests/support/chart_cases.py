"""The renders that tests of charts look at: every chart with every file of values for CI."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from support.helm import CHARTS, Helm, Manifest, charts

_CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"


@dataclass(frozen=True)
class ChartCase:
    """A chart with a file of values; None means its defaults."""

    chart: str
    values: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of values, for Helm."""
        return () if self.values is None else (self.values,)

    def render(self, helm: Helm) -> list[Manifest]:
        """Return the rendered objects, with a fixed cluster id instead of a random one.

        Rendered once in a run of tests; not to be changed.
        """
        return _render(self, helm)

    @property
    def fixed(self) -> dict[str, str]:
        """Fixed values in place of random ones that Helm would show outside of Secrets."""
        names = {"kafka": "clusterId", "mailtopic": "kafka.clusterId"}
        return {names[self.chart]: _CLUSTER_ID} if self.chart in names else {}

    def __str__(self) -> str:
        name = "defaults" if self.values is None else self.values.stem.removesuffix("-values")
        return f"{self.chart}-{name}"


@cache
def _render(case: ChartCase, helm: Helm) -> list[Manifest]:
    return helm.template(case.chart, case.fixed, files=case.files)


def chart_cases() -> list[ChartCase]:
    """Return all of them; a library chart renders nothing and is left out."""
    return list(_cases())


def _cases() -> Iterator[ChartCase]:
    for chart in charts():
        about = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text("utf-8"))
        if about.get("type") == "library":
            continue
        files = sorted((CHARTS / chart / "ci").glob("*-values.yaml"))
        if not files or chart == "mailtopic":
            yield ChartCase(chart)
        for file in files:
            yield ChartCase(chart, file)
