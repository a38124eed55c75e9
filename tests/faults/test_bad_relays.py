"""A relay that greylists a fifth and closes at random: mails arrive in time, or not at all."""

from collections.abc import Callable, Collection

import pytest

from mailtopic_contract import Outcome
from support.fault_bench import FaultBench, addresses
from support.smtp_relay import Behaviour, Fault, is_among

RATE_PER_S = 80
SHARE = 0.2
CLOSING = Fault("mail", reply="421 4.3.2 closing", probability=0.05)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("mails", "greylist_s"),
    [
        pytest.param(1_200, 8, id="8 s"),
        pytest.param(12_000, 60, id="60 s", marks=pytest.mark.guarantees),
    ],
)
async def test_greylisting_and_421_delay_only_whom_they_hit(
    bench: FaultBench, mails: int, greylist_s: float, figure: Callable[[str], None]
) -> None:
    bench.ttl_s = ttl_s = 10 * greylist_s
    await bench.start_ready("sender-0")
    await bench.start_ready("sender-1")
    calm = addresses(mails // 4, "calm")
    await bench.publish_paced(calm, rate_per_s=RATE_PER_S)
    await bench.settled()
    await bench.relay.behave(
        Behaviour(faults=[CLOSING], greylist_s=greylist_s, greylist_share=SHARE)
    )
    stormy = addresses(mails, "stormy")
    await bench.publish_paced(stormy, rate_per_s=RATE_PER_S)
    verdict = await bench.settled(timeout_s=ttl_s + 30)

    delays_s = {
        mail.recipient: mail.at - bench.sent_at[mail.recipient] for mail in bench.relay.read()
    }
    others = {who for who in stormy if not is_among(who, SHARE)}
    put_off = others & await deferred(bench)
    in_time = sum(delays_s.get(who, ttl_s) < ttl_s for who in stormy)
    figure(
        f"{mails} mails at {RATE_PER_S}/s, {mails - len(others)} greylisted for {greylist_s:g} s,"
        f" 5 % of 421: {in_time / mails:.2%} in time; p50/p99 of the {len(others)} others"
        f" {told(others, delays_s)} ({len(put_off)} of them deferred by a 421, the rest"
        f" {told(others - put_off, delays_s)}); of {len(calm)} mails without faults"
        f" {told(calm, delays_s)}; {verdict}"
    )
    assert in_time / mails >= 0.999
    assert all(delay_s < ttl_s for delay_s in delays_s.values())
    assert not verdict.second_copies
    assert not verdict.decided_twice
    assert "Traceback" not in bench.log()


async def deferred(bench: FaultBench) -> set[str]:
    """Whose mail was put off at least once."""
    events = (await bench.status()).events
    return {bench.published[e.id] for e in events if e.outcome is Outcome.DEFERRED}


def told(recipients: Collection[str], delays_s: dict[str, float]) -> str:
    """The median and the 99th percentile."""
    ordered = sorted(delays_s[who] for who in recipients if who in delays_s)
    return f"{ordered[len(ordered) // 2]:.2f}/{ordered[len(ordered) * 99 // 100]:.2f} s"
