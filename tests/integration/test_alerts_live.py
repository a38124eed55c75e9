"""The real pipeline is broken before a real Prometheus, and the right alerts fire.

The rules are those of the chart with every time divided by 60 (`rules.scale`), and with an
installation's own limits of 5 s: what takes minutes in production takes seconds here.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path

import httpx
import pytest

from mailtopic_client import KafkaClient, KafkaSettings
from mailtopic_observability.rules import Parameters, groups, scaled
from mailtopic_observability.rules.model import as_yaml
from support.conditions import until
from support.pipeline import TOPIC, Pipeline, RelayAddress
from support.prometheus import Prometheus, running_prometheus, scrape_job
from support.signups import sign_up
from support.smtp_relay import Behaviour, Fault
from support.smtp_relay_process import PASSWORD, RelayProcess

FASTER = 60
LIMIT_S = 5
PACE_S = 0.25
QUIET_S = 6
REFUSED = Fault("auth", reply="535 5.7.8 authentication credentials invalid")


@asynccontextmanager
async def signing_up(pipeline: Pipeline) -> AsyncIterator[None]:
    """Somebody signs up all the time."""
    numbers = count()

    async def go_on() -> None:
        async with httpx.AsyncClient(base_url=pipeline.signup_url, timeout=30) as http:
            while True:
                await sign_up(http, f"user{next(numbers)}@example.test")
                await asyncio.sleep(PACE_S)

    going_on = asyncio.create_task(go_on())
    try:
        yield
        assert not going_on.done(), going_on.exception()
    finally:
        going_on.cancel()
        await asyncio.gather(going_on, return_exceptions=True)


def rule_file(directory: Path) -> Path:
    limits = Parameters(threshold_s=LIMIT_S, lag_limit_s=LIMIT_S, outbox_limit_s=LIMIT_S)
    path = directory / "rules.yaml"
    path.write_text(as_yaml(scaled(groups(limits), by=FASTER, least_range_s=5)))
    return path


async def publish_garbage(pipeline: Pipeline) -> None:
    broker = KafkaClient(KafkaSettings(bootstrap_servers=(pipeline.kafka.bootstrap_servers,)))
    await broker.connect()
    try:
        await broker.publish(TOPIC, key=b"k", value=b"no json", headers=[])
    finally:
        await broker.close()


class Watch:
    """What fires, and how long it took to."""

    def __init__(self, prometheus: Prometheus, figure: Callable[[str], None]) -> None:
        self._prometheus = prometheus
        self._figure = figure

    async def fires(self, what: str, *names: str, timeout_s: float = 45) -> None:
        began_s = time.monotonic()
        for name in names:
            await until(
                partial(self._is_firing, name),
                f"{name} fires: {what}",
                timeout_s=timeout_s,
            )
            self._figure(f"{what}: {name} after {time.monotonic() - began_s:.0f} s")

    def _is_firing(self, name: str) -> bool:
        return name in self._prometheus.firing()

    async def is_over(self, *names: str) -> None:
        await until(
            lambda: not self._prometheus.firing() & set(names), f"{names} are over", timeout_s=60
        )

    def texts_are_filled_in(self) -> None:
        for alert in self._prometheus.alerts():
            text = " ".join(alert["annotations"].values())
            assert "{{" not in text
            assert "<" not in text, text


@pytest.mark.timeout(300)
async def test_each_outage_raises_its_alerts_and_a_healthy_pipeline_none(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    relay = RelayProcess(tmp_path / "relay", needs_login=True)
    await relay.start()
    login = {
        name: value for name, value in relay.environment().items() if name.endswith(_LOGIN_SETTINGS)
    }
    pipeline = Pipeline(
        tmp_path / "pipeline",
        relay=RelayAddress(relay.port, tmp_path / "relay" / "ca.pem"),
        settings=login,
    )
    try:
        async with pipeline:
            jobs = [
                scrape_job("signup", pipeline.signup_port),
                scrape_job("senders", *pipeline.metrics_ports),
            ]
            with running_prometheus(
                tmp_path / "prometheus", jobs, rule_files=[rule_file(tmp_path)]
            ) as prometheus:
                await _break_everything(pipeline, relay, prometheus, Watch(prometheus, figure))
    finally:
        await relay.stop()


_LOGIN_SETTINGS = ("USERNAME", "PASSWORD_FILE")


async def _break_everything(
    pipeline: Pipeline, relay: RelayProcess, prometheus: Prometheus, watch: Watch
) -> None:
    async with signing_up(pipeline):
        await _is_silent_while_all_is_well(prometheus)
        await _refuse_the_login(relay, watch)
        await publish_garbage(pipeline)
        await watch.fires("garbage was published", "MailTopicDeadLettersGrowing")
        await _take_kafka_away(pipeline, watch)
    for name in pipeline.sender_names:
        await pipeline.kill(name)
    await watch.fires("all senders were killed", "MailTopicTargetDown", "MailTopicNoSender")
    watch.texts_are_filled_in()


async def _is_silent_while_all_is_well(prometheus: Prometheus) -> None:
    await until(prometheus.targets_up, "all targets are up")
    await until(
        lambda: prometheus.value("mailtopic:delivery_slo_good:rate5m > 1"), "mails are counted"
    )
    began_s = time.monotonic()
    while time.monotonic() < began_s + QUIET_S:
        assert prometheus.firing() == set()
        await asyncio.sleep(1)
    rules = prometheus.rules()
    assert {rule["health"] for rule in rules} == {"ok"}, [
        (rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"
    ]
    assert prometheus.value(f'mailtopic:senders:count{{topic="{TOPIC}"}}') == 2


async def _refuse_the_login(relay: RelayProcess, watch: Watch) -> None:
    await relay.behave(Behaviour(faults=[REFUSED], drops_links=True))
    await watch.fires(
        "the login is refused",
        "MailTopicRelayAuthFailing",
        "MailTopicNoRelay",
        "MailTopicStalled",
        "MailTopicLagHigh",
        "MailTopicRelayBreakerOpen",
    )
    watch.texts_are_filled_in()
    await relay.behave(Behaviour())
    # Otherwise they would try again after more than ten minutes.
    relay.password_file.write_text(PASSWORD, "utf-8")
    await watch.fires("… and what waited arrived late", "MailTopicDeliverySLOFastBurn")
    watch.texts_are_filled_in()
    await watch.is_over("MailTopicNoRelay", "MailTopicStalled", "MailTopicLagHigh")


async def _take_kafka_away(pipeline: Pipeline, watch: Watch) -> None:
    await pipeline.kill("kafka")
    await watch.fires("Kafka was killed", "MailTopicOutboxOld")
    watch.texts_are_filled_in()
    await pipeline.restart("kafka")
    await watch.is_over("MailTopicOutboxOld")
