"""The retry topics' gate: heads wait, and no record blocks its partition for ever."""

from mailtopic_contract import parse_tier
from mailtopic_sender.engine.tiers import TierHold
from mailtopic_sender.ports import ConsumedRecord, TopicPartition

NOW = 1_790_000_000_000
TOPIC = "mails.retry.10s"


def gate() -> TierHold:
    return TierHold({TOPIC: parse_tier("10s")})


def record(offset: int, not_before: bytes | None, *, partition: int = 0) -> ConsumedRecord:
    headers = (("mt-not-before", not_before),) if not_before is not None else ()
    return ConsumedRecord(TOPIC, partition, offset, NOW, b"k", b"v", headers)


def offsets(records: list[ConsumedRecord]) -> list[int]:
    return [found.offset for found in records]


def test_the_head_waits_until_it_is_due_and_others_wait_behind_it() -> None:
    tier = gate()
    tier.admit(record(1, str(NOW + 5_000).encode()), NOW)
    tier.admit(record(2, str(NOW + 1_000).encode()), NOW)
    assert tier.due(NOW + 4_999) == []
    assert set(tier.holding) == {TopicPartition(TOPIC, 0)}
    assert offsets(tier.due(NOW + 5_000)) == [1, 2]
    assert not tier.holding


def test_partitions_do_not_wait_for_each_other() -> None:
    tier = gate()
    tier.admit(record(1, str(NOW + 5_000).encode()), NOW)
    tier.admit(record(2, str(NOW).encode(), partition=1), NOW)
    assert offsets(tier.due(NOW)) == [2]


def test_a_record_without_a_time_waits_one_delay() -> None:
    for bad in (None, b"soon", b"-1", b"9" * 30):
        tier = gate()
        tier.admit(record(1, bad), NOW)
        assert tier.due(NOW + 9_999) == []
        assert offsets(tier.due(NOW + 10_000)) == [1]


def test_a_clock_that_is_ahead_delays_a_record_by_one_delay_at_most() -> None:
    tier = gate()
    tier.admit(record(1, str(NOW + 120_000).encode()), NOW)
    assert offsets(tier.due(NOW + 10_000)) == [1]


def test_nothing_is_left_after_a_revocation() -> None:
    tier = gate()
    tier.admit(record(1, None), NOW)
    tier.clear()
    assert tier.due(NOW + 100_000) == []
    assert not tier.holding
