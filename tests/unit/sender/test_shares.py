"""The parts of a rate add up to no more than the rate, whoever owns what."""

from hypothesis import given
from hypothesis import strategies as st

from mailtopic_sender.engine.shares import RateShares
from support.conditions import until
from support.engines import Engine


def test_who_owns_everything_has_the_whole_rate() -> None:
    told: list[float] = []
    shares = RateShares(told.append)
    shares.of("main")(1.0)
    shares.of("retry")(1.0)
    shares.of("main")(0.0)
    assert told == [0.0, 0.8, 1.0, 0.2]


@given(
    st.lists(st.integers(min_value=0, max_value=6), min_size=6, max_size=6),
    st.lists(st.integers(min_value=0, max_value=6), min_size=18, max_size=18),
)
def test_the_shares_of_all_senders_add_up_to_one(main: list[int], retry: list[int]) -> None:
    total = 0.0
    for sender in range(7):
        told: list[float] = []
        shares = RateShares(told.append)
        shares.of("main")(main.count(sender) / len(main))
        shares.of("retry")(retry.count(sender) / len(retry))
        total += told[-1]
    assert abs(total - 1) < 1e-9


async def test_a_pump_tells_its_share_and_gives_it_back_before_it_drains() -> None:
    engine = Engine()
    await engine.publish()
    engine.relay.gate.clear()
    async with engine.running() as pump:
        await until(lambda: engine.slots.running, "a mail under way")
        assert engine.shares == [1.0]
        await until(lambda: pump.is_ready, "an assignment")
        rebalancing = engine.source.rebalance()
        engine.relay.gate.set()
        await rebalancing
        assert engine.shares == [1.0, 0.0, 1.0]
    assert engine.shares[-1] == 0.0
