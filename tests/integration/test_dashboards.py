"""Every query of every dashboard finds data in a Prometheus that scraped real processes."""

import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.api_server import ApiServer
from support.conditions import until
from support.dashboards import PanelQuery, filled_in, queries, read_dashboards
from support.kafka_chart import AgentNode
from support.operators import operators
from support.pipeline import TOPIC, Pipeline, RelayAddress
from support.prometheus import Prometheus, Series
from support.smtp_relay import Authority, SmtpRelay
from support.traffic import everything_happens, somebody_signs_up
from support.watched import NAMESPACE, watched_jobs, watching

SETTINGS = {
    "MAILTOPIC_DELIVERY__RETRY_TIERS": '["1s","1m"]',
    "MAILTOPIC_SMTP__RATE_PER_S": "50",
}

SIGNUPS = 'mailtopic_request_seconds_count{route="/v1/signups"}'
SENT = 'mailtopic_mails_total{outcome="accepted"} > 0'
RATE_INTERVAL_S = 15
"""Scrapes are a second apart, or several on a machine with other work; a rate needs two."""


@dataclass(frozen=True)
class Watched:
    """What a Prometheus saw from a time on."""

    prometheus: Prometheus
    start_s: float

    def data(self, query: PanelQuery) -> Sequence[Series]:
        """What a panel shows of all that was seen; series of nothing but NaN left out."""
        end_s = time.time()
        expression = filled_in(
            query.expression,
            rate_interval_s=RATE_INTERVAL_S,
            range_s=end_s - self.start_s,
            variables={"namespace": NAMESPACE, "topic": TOPIC},
        )
        if query.is_instant:
            found = self.prometheus.query(expression)
        else:
            found = self.prometheus.query_range(
                expression, start_s=self.start_s, end_s=end_s, step_s=1
            )
        return [each for each in found if not all(math.isnan(value) for _, value in each.points)]


@pytest.fixture
async def watched(tmp_path: Path, api_server: ApiServer) -> AsyncIterator[Watched]:
    authority = Authority()
    ca_file = authority.write_pem(tmp_path / "ca.pem")
    async with (
        SmtpRelay(tls=authority.server_context("127.0.0.1")) as relay,
        Pipeline(
            tmp_path / "run",
            RelayAddress(relay.port, ca_file),
            settings=dict(SETTINGS),
            node=AgentNode,
        ) as pipeline,
        operators(tmp_path, api_server, pipeline.kafka.bootstrap_servers) as mail_operators,
    ):
        operator = mail_operators.start()
        with watching(tmp_path / "prometheus", watched_jobs(pipeline, operator=operator.port)) as p:
            start_s = time.time()
            await operator.leads()
            await until(p.targets_up, "all targets are up")
            await somebody_signs_up(pipeline.signup_url)
            await until(lambda: p.query(SIGNUPS) and p.query(SENT), "scrapes of the first signup")
            mail_operators.create("first")
            await mail_operators.is_ready("first")
            await everything_happens(relay, pipeline.signup_url, pipeline.kafka.bootstrap_servers)
            yield Watched(p, start_s)


async def test_every_panel_has_data_after_mails_of_every_kind(watched: Watched) -> None:
    asked = [query for board in read_dashboards().values() for query in queries(board)]

    def without_data() -> list[str]:
        return [str(query) for query in asked if not watched.data(query)]

    # The last scrapes and rules are due within seconds.
    deadline_s = time.monotonic() + 20
    await until(lambda: not without_data() or time.monotonic() > deadline_s, "data")
    assert without_data() == []
