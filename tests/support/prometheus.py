"""Debian's Prometheus as a process on a loopback port, and what a test asks it."""

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from support.ports import free_port
from support.requirements import require

Json = dict[str, Any]
_START_TIMEOUT_S = 30
_STOP_TIMEOUT_S = 30
_POLL_S = 0.05


class PrometheusError(Exception):
    """Prometheus refused a query or its configuration; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Series:
    """One time series of an answer: its labels, and pairs of a Unix time in seconds and a value."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]

    @property
    def value(self) -> float:
        """The last value; of an instant query, the only one."""
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus.

    Calls wait for its answer, not for a scrape: to get data from the next scrape, wait for a
    condition. All times are Unix times in seconds.
    """

    port: int
    config_file: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def query(self, expression: str, *, at_s: float | None = None) -> list[Series]:
        """Evaluate now, or at a time; a scalar is a series without labels.

        Raises:
            PrometheusError: it can't be evaluated.
        """
        parameters = {"query": expression} | ({} if at_s is None else {"time": str(at_s)})
        data = self._get("query", parameters)
        if data["resultType"] == "scalar":
            return [Series({}, [_point(data["result"])])]
        return [Series(each["metric"], [_point(each["value"])]) for each in data["result"]]

    def query_range(
        self, expression: str, *, start_s: float, end_s: float, step_s: float
    ) -> list[Series]:
        """Evaluate at each step from start to end.

        Raises:
            PrometheusError: it can't be evaluated.
        """
        times = {"start": str(start_s), "end": str(end_s), "step": str(step_s)}
        data = self._get("query_range", {"query": expression, **times})
        return [
            Series(each["metric"], [_point(pair) for pair in each["values"]])
            for each in data["result"]
        ]

    def value(self, expression: str) -> float | None:
        """Return the one value that an expression has now; None while it has none.

        Raises:
            AssertionError: it has several.
        """
        found = self.query(expression)
        assert len(found) <= 1, f"{expression}: {found}"
        return found[0].value if found else None

    def exemplars(self, expression: str, *, start_s: float, end_s: float) -> list[Json]:
        """Return the exemplars of the series that an expression reads."""
        times = {"start": str(start_s), "end": str(end_s)}
        found: list[Json] = self._get("query_exemplars", {"query": expression, **times})
        return found

    def targets(self) -> list[Json]:
        """Return every target that is scraped: labels, health, lastError, scrapeUrl …"""
        found: list[Json] = self._get("targets", {"state": "active"})["activeTargets"]
        return found

    def targets_up(self) -> bool:
        """Whether there are targets and the last scrape of each went well."""
        found = self.targets()
        return bool(found) and all(each["health"] == "up" for each in found)

    def rules(self) -> list[Json]:
        """Return every loaded rule: name, type, query, health, lastError, and an alert's state."""
        return [rule for group in self._get("rules", {})["groups"] for rule in group["rules"]]

    def alerts(self) -> list[Json]:
        """Return every alert that is pending or firing: labels, annotations, state, activeAt."""
        found: list[Json] = self._get("alerts", {})["alerts"]
        return found

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        return {a["labels"]["alertname"] for a in self.alerts() if a["state"] == "firing"}

    def reload(self) -> None:
        """Read configuration and rules again.

        Raises:
            PrometheusError: they are wrong; the old ones stay in force.
        """
        answer = httpx.post(f"{self.url}/-/reload", timeout=30)
        if not answer.is_success:
            raise PrometheusError(answer.text)

    def _get(self, path: str, parameters: Mapping[str, str]) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=dict(parameters), timeout=30)
        body = answer.json()
        if body["status"] != "success":
            raise PrometheusError(f"{body['error']} in {parameters.get('query', path)}")
        return body["data"]


def scrape_job(name: str, *ports: int, **settings: Any) -> Json:
    """Return a scrape job over loopback ports; its settings are those of Prometheus' scrape_config.

    ``labels`` are the targets' own, such as the ones that pods get from their annotations.
    """
    targets: Json = {"targets": [f"127.0.0.1:{port}" for port in ports]}
    if "labels" in settings:
        targets["labels"] = settings.pop("labels")
    return {"job_name": name, "static_configs": [targets], **settings}


@contextmanager
def running_prometheus(
    directory: Path,
    scrape_jobs: Sequence[Json],
    *,
    rule_files: Sequence[Path] = (),
    interval_s: float = 1,
    arguments: Sequence[str] = (),
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes and evaluates at an interval, until the block ends.

    Its data and its log are in the directory. Exemplars are stored, and recent data is looked
    back at for no longer than five intervals, so that a target that went away is soon seen.
    The test is skipped where Prometheus is not installed.

    Raises:
        PrometheusError: it ended early or was not ready in time; the text ends with its log.
    """
    program = shutil.which("prometheus")
    if program is None:
        require("integration", "there is no prometheus: apt install prometheus")
    directory.mkdir(parents=True, exist_ok=True)
    prometheus = Prometheus(free_port(), directory / "prometheus.yml")
    interval = f"{round(interval_s * 1000)}ms"
    configuration = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
        },
        "rule_files": [str(path.resolve()) for path in rule_files],
        "scrape_configs": list(scrape_jobs),
    }
    prometheus.config_file.write_text(yaml.safe_dump(configuration))
    command = [
        program,
        f"--config.file={prometheus.config_file}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{prometheus.port}",
        f"--query.lookback-delta={round(interval_s * 5000)}ms",
        "--web.enable-lifecycle",
        "--enable-feature=exemplar-storage",
        *arguments,
    ]
    log = directory / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - Debian's program
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        _wait_until_ready(process, prometheus, log)
        yield prometheus
    finally:
        _stop(process)


def promtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run Prometheus' own checker; its exit code and output are the caller's to judge."""
    program = shutil.which("promtool")
    if program is None:
        require("integration", "there is no promtool: apt install prometheus")
    return subprocess.run(  # noqa: S603 - Debian's program
        [program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def _point(pair: Sequence[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


def _wait_until_ready(
    process: "subprocess.Popen[bytes]", prometheus: Prometheus, log: Path
) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while not _is_ready(prometheus):
        if process.poll() is not None:
            raise PrometheusError(f"ended with {process.returncode}: {log.read_text()[-2000:]}")
        if time.monotonic() > deadline_s:
            raise PrometheusError(f"not ready in {_START_TIMEOUT_S} s: {log.read_text()[-2000:]}")
        time.sleep(_POLL_S)


def _is_ready(prometheus: Prometheus) -> bool:
    try:
        return httpx.get(f"{prometheus.url}/-/ready", timeout=5).is_success
    except httpx.TransportError:
        return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
