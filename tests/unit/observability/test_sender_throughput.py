"""The benchmark of metrics compares what it says: the same mails, measured and not measured."""

from prometheus_client import CollectorRegistry

from benchmarks.sender_throughput import NoMetrics, compare
from mailtopic_sender.metrics import SenderMetrics
from support.conditions import until
from support.engines import NAMES, Engine


async def counted(metrics_type: type[SenderMetrics]) -> tuple[int, float]:
    """How many mails were delivered, and how many of them were counted."""
    engine = Engine(metrics_type=metrics_type)
    for number in range(30):
        await engine.publish(f"user{number}@example.com")
    async with engine.running():
        await until(lambda: len(engine.kafka.stored(NAMES.status)) == 30, "all are done")
    labels = {"topic": "mails", "relay": "memory", "outcome": "accepted"}
    value = engine.registry.get_sample_value("mailtopic_mails_total", labels)
    return len(engine.relay.accepted), value or 0


async def test_both_arms_deliver_and_only_one_measures() -> None:
    assert await counted(SenderMetrics) == (30, 30)
    assert await counted(NoMetrics) == (30, 0)


async def test_every_round_has_both_arms() -> None:
    result = await compare(mails=20, rounds=3)
    assert len(result.with_metrics) == len(result.without) == 3
    assert min(*result.with_metrics, *result.without) > 0


def test_what_measures_nothing_takes_every_call_that_the_engine_makes() -> None:
    public = {name for name in vars(SenderMetrics) if not name.startswith("_")}
    assert public <= vars(NoMetrics).keys()
    shown = vars(SenderMetrics(CollectorRegistry(), "mails")).keys()
    assert shown == vars(NoMetrics(CollectorRegistry(), "mails")).keys()
