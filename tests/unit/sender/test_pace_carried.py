"""What partitions carry of the relays' limits: the sum is kept, and nothing odd is believed."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mailtopic_runtime import ManualClock
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.domain.pace import Learned
from mailtopic_sender.domain.pace.carried import (
    HINT_S,
    MOST_RELAYS,
    SURE_S,
    CarriedError,
    decode_carried,
    encode_carried,
    together,
)
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.pace_carrier import PaceCarrier
from mailtopic_sender.engine.relays.breaker import BreakerState
from mailtopic_sender.engine.relays.port import Connections
from mailtopic_sender.engine.relays.state import RelayState
from mailtopic_sender.engine.watermark import (
    MAX_METADATA_BYTES,
    WINDOW,
    Snapshot,
    decode_snapshot,
    encode_snapshot,
)
from support.conditions import until
from support.engines import NAMES, Engine

SES, OTHER = "Ab3_dEf9", "other-12"
NOW_S = 1_800_000_000
FULL = Learned(rate_per_s=14.0, connections=5, mails_per_connection=20)


@dataclass
class Learning:
    """Relays of which a test says what they have learned."""

    learned: Learned = field(default_factory=Learned)
    replies: int = 0
    adopted: list[tuple[str, Learned, bool]] = field(default_factory=list)

    @property
    def relays(self) -> tuple[RelayState, ...]:
        replies = {ReplyClass.ACCEPTED: self.replies}
        return (
            RelayState(
                "ses", None, BreakerState.CLOSED, Connections(0, 0, 9), replies, self.learned
            ),
        )

    def adopt(self, relay: str, learned: Learned, *, is_hint: bool) -> None:
        self.adopted.append((relay, learned, is_hint))
        self.learned = learned


def carrier(relays: Learning, *, at_s: float = NOW_S, account: str = SES) -> PaceCarrier:
    return PaceCarrier(relays, {"ses": account}, ManualClock(now_ms=round(at_s * 1000)))


def carried_text(seen_s: int = NOW_S, learned: Learned = FULL, partitions: int = 6) -> str:
    return encode_carried({SES: (seen_s, learned)}, partitions)


LIMITS = st.builds(
    Learned,
    st.none() | st.floats(0.5, 100_000),
    st.none() | st.integers(1, 1000),
    st.none() | st.integers(1, 1_000_000),
)


@given(learned=LIMITS, owners=st.lists(st.integers(1, 12), min_size=1, max_size=12))
def test_the_sum_stays_however_partitions_move(learned: Learned, owners: list[int]) -> None:
    text = encode_carried({SES: (NOW_S, learned)}, sum(owners))
    if learned == Learned():
        assert text == ""
        return
    found = [together([decode_carried(text, NOW_S)[SES]] * owned) for owned in owners]
    assert all(each.mails_per_connection == learned.mails_per_connection for each in found)
    if learned.rate_per_s is None:
        assert all(each.rate_per_s is None for each in found)
    else:
        total = sum(each.rate_per_s or 0 for each in found)
        assert total == pytest.approx(learned.rate_per_s, rel=0.02)


def test_the_longest_text_fits_beside_the_longest_metadata_and_a_topic_id() -> None:
    most = Learned(rate_per_s=99_999.9, connections=1000, mails_per_connection=1_000_000)
    limits = {f"{number:08d}": (99_999_999_999, most) for number in range(MOST_RELAYS + 4)}
    text = encode_carried(limits, 1)
    assert len(decode_carried(text, 99_999_999_999)) == MOST_RELAYS
    snapshot = Snapshot(10**18, frozenset(10**18 + n for n in range(1, WINDOW, 2)), 10**18, text)
    metadata = encode_snapshot(snapshot)
    assert len(metadata.metadata) + len("|") + 22 <= MAX_METADATA_BYTES
    assert decode_snapshot(metadata) == snapshot


@pytest.mark.parametrize(
    "text",
    [
        "p2;Ab3_dEf9,1800000000,2.3333,,",
        "p1;",
        "p1;Ab3_dEf9,1800000000,nan,,",
        "p1;Ab3_dEf9,1800000000,-1.0000,,",
        "p1;Ab3_dEf9,1800000000,1e9,,",
        "p1;Ab3_dEf9,1800000000,0.0000,,",
        "p1;Ab3_dEf9,1800000000,999999.0000,,",
        "p1;Ab3_dEf9,1800000000,2.3333,9999.0000,",
        "p1;Ab3_dEf9,1800000000,2.3333,,0",
        "p1;Ab3_dEf9,1800000301,2.3333,,",
        "p1;Ab3_dEf9,١٨٠٠٠٠٠٠٠٠,2.3333,,",
        "p1;short,1800000000,2.3333,,",
        "p1" + ";Ab3_dEf9,1800000000,2.3333,," * 9,
        "garbage",
    ],
)
def test_what_cannot_be_read_or_true_is_ignored_with_one_line(text: str) -> None:
    with pytest.raises(CarriedError):
        decode_carried(text, NOW_S)
    relays = Learning()
    with capture_logs() as logs:
        carrier(relays).begun([text, text, carried_text()])
    assert [each["event"] for each in logs] == ["pace.ignored", "pace.resumed"]
    assert relays.adopted == [
        ("ses", together([decode_carried(carried_text(), NOW_S)[SES]]), False)
    ]


def test_what_is_of_another_account_is_not_applied() -> None:
    relays = Learning()
    carrier(relays, account=OTHER).begun([carried_text()])
    assert relays.adopted == []
    assert RelaySettings("a.test").account != RelaySettings("b.test").account
    assert RelaySettings("a.test").account == RelaySettings("A.test", name="x").account
    one, other = (RelaySettings("a.test", username=name, password="p") for name in "xy")
    assert one.account != other.account != RelaySettings("a.test").account
    assert len(one.account) == len(SES)


@pytest.mark.parametrize(
    ("age_s", "is_hint"), [(0, False), (SURE_S, False), (SURE_S + 1, True), (HINT_S, True)]
)
def test_what_is_old_is_a_hint(age_s: int, is_hint: bool) -> None:  # noqa: FBT001 - a parameter
    relays = Learning()
    carrier(relays).begun([carried_text(NOW_S - age_s)] * 6)
    ((_, learned, was_hint),) = relays.adopted
    assert learned.rate_per_s == pytest.approx(14, rel=0.01)
    assert was_hint is is_hint


def test_what_is_older_than_a_day_is_of_no_use() -> None:
    relays = Learning()
    carrier(relays).begun([carried_text(NOW_S - HINT_S - 1)] * 6)
    assert relays.adopted == []


def test_a_sender_that_met_no_limit_believes_itself() -> None:
    relays = Learning(replies=5)
    carrier(relays).begun([carried_text()])
    assert relays.adopted == []


def test_a_sender_takes_up_less_when_others_join() -> None:
    relays = Learning(FULL, replies=100)
    carrier(relays).begun([carried_text()] * 2)
    ((_, learned, _),) = relays.adopted
    assert learned.rate_per_s == pytest.approx(14 / 3, rel=0.01)
    assert learned.connections == 2
    assert learned.mails_per_connection is None  # known already


def test_noise_in_a_rate_is_not_written() -> None:
    relays = Learning(FULL, replies=100)
    clock = ManualClock(now_ms=NOW_S * 1000)
    carrying = PaceCarrier(relays, {"ses": SES}, clock)
    text = carrying.text(6)
    for rate in (14.5, 13.3, 15.1):
        relays.learned = Learned(rate, 5, 20)
        relays.replies += 100
        clock.advance(20)
        assert carrying.text(6) == text
    relays.learned = Learned(7.0, 5, 20)
    assert carrying.text(6) != text


def test_an_idle_relay_gets_no_younger() -> None:
    relays = Learning(FULL, replies=100)
    clock = ManualClock(now_ms=NOW_S * 1000)
    carrying = PaceCarrier(relays, {"ses": SES}, clock)
    text = carrying.text(6)
    clock.advance(7200)
    assert carrying.text(6) == text
    relays.replies += 1
    assert decode_carried(carrying.text(6), NOW_S + 7200)[SES].seen_s == NOW_S + 7200


async def test_an_idle_partition_carries_what_was_learned_since() -> None:
    engine = Engine(accounts={"memory": SES})
    await engine.publish()
    async with engine.running() as pump:
        await until(lambda: len(engine.relay.accepted) == 1, "the mail is sent")
        place = next(iter(engine.kafka.commits))[1]
        engine.mailer.adopt("memory", Learned(rate_per_s=14), is_hint=False)

        def carries() -> bool:
            committed = engine.kafka.committed("mails", place)
            return committed is not None and "|p1;" in committed.metadata

        await until(carries, "the limit is committed")
        assert pump.is_ready
    again = Engine(kafka=engine.kafka, clock=engine.clock, accounts={"memory": SES})
    async with again.running() as pump:
        await until(lambda: pump.is_ready, "it goes on")
        assert again.mailer.relays[0].learned.rate_per_s == pytest.approx(14, rel=0.01)
        await asyncio.sleep(0)
    assert NAMES.main == place.topic
