"""Rates, refusals and what there is to see of relays: over TLS, against relays that misbehave."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from mailtopic_sender.adapters.relay_metrics import RelayMetrics
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.lease import Lease
from mailtopic_sender.engine.relays.patience import Patience
from mailtopic_sender.mail_ports import Withdrawn
from support.conditions import until
from support.smtp_mails import SendingMailer, mail, mailer_to
from support.smtp_relay import Authority, Fault, SmtpRelay
from support.smtp_times import largest_excess

C = ReplyClass
SES = "454 Throttling failure: Maximum sending rate exceeded."
BURST = 0.1
"""Seconds' worth of a rate that may come at once."""


class Place:
    """Relays of one authority."""

    def __init__(self, directory: Path) -> None:
        self._authority = Authority()
        self._ca_file = self._authority.write_pem(directory / "ca.pem")

    def relay(self) -> SmtpRelay:
        return SmtpRelay(tls=self._authority.server_context("127.0.0.1"))

    def settings(
        self,
        relay: SmtpRelay,
        name: str = "a",
        *,
        rate_per_s: float | None = None,
        max_connections: int = 10,
    ) -> RelaySettings:
        return RelaySettings(
            relay.host,
            relay.port,
            name=name,
            ca_file=self._ca_file,
            rate_per_s=rate_per_s,
            max_connections=max_connections,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@asynccontextmanager
async def without_share(place: Place, relay: SmtpRelay) -> AsyncIterator[SendingMailer]:
    async with mailer_to(place.settings(relay, rate_per_s=100)) as mailer:
        mailer.set_share(0)
        yield mailer


async def test_a_rate_is_kept_and_no_connection_is_held_by_who_waits(place: Place) -> None:
    async with (
        place.relay() as relay,
        mailer_to(place.settings(relay, rate_per_s=50)) as mailer,
    ):
        started_s = time.monotonic()
        sending = [asyncio.create_task(mailer.send(mail())) for _ in range(60)]
        await until(lambda: len(relay.mails) > 20, "some mails")
        state = mailer.relays[0].connections
        results = await asyncio.gather(*sending)
        took_s = time.monotonic() - started_s
    assert Counter(one.reply_class for one in results) == {C.ACCEPTED: 60}
    assert state.busy + state.idle < 10
    assert took_s >= (60 - 1 - 50 * BURST) / 50
    print(f"60 mails at 50/s: {took_s:.2f} s, {relay.connections} connections")  # noqa: T201


async def test_the_shares_of_two_senders_keep_the_rate_together(place: Place) -> None:
    async with place.relay() as relay:
        one = place.settings(relay, rate_per_s=40)
        async with mailer_to(one) as first, mailer_to(one) as second:
            first.set_share(0.75)
            second.set_share(0.25)
            await asyncio.gather(
                *(first.send(mail("first@example.org")) for _ in range(45)),
                *(second.send(mail("second@example.org")) for _ in range(15)),
            )
    excess = largest_excess(relay.mails, 40)
    print(f"two shares of 40/s: {excess:.1f} mails above the rate at worst")  # noqa: T201
    # A burst each, and a few for arrivals that the loop of the test made late.
    assert excess <= 2 + 40 * BURST + 10


async def test_a_mail_that_waits_for_its_turn_can_be_cancelled(place: Place) -> None:
    async with place.relay() as relay, without_share(place, relay) as mailer:
        sending = asyncio.create_task(mailer.send(mail()))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        mailer.set_share(1)
        assert (await mailer.send(mail("next@example.org"))).reply_class is C.ACCEPTED
    assert [one.recipients for one in relay.mails] == [("next@example.org",)]


async def test_a_mail_that_waits_for_its_turn_goes_back_with_its_lease(place: Place) -> None:
    async with place.relay() as relay, without_share(place, relay) as mailer:
        lease = Lease()
        sending = asyncio.create_task(mailer.send(mail(), is_wanted=lambda: not lease.is_over))
        await asyncio.sleep(0)
        lease.end()
        mailer.recall()
        with pytest.raises(Withdrawn):
            await sending
    assert relay.mails == []
    assert relay.connections == 0


async def test_a_mail_that_expires_while_it_waits_is_not_sent(place: Place) -> None:
    async with place.relay() as relay, without_share(place, relay) as mailer:
        expires_s = time.monotonic() + 0.05

        def is_wanted() -> bool:
            return time.monotonic() < expires_s

        with pytest.raises(Withdrawn):
            await mailer.send(mail(), is_wanted=is_wanted)
        mailer.set_share(1)
        with pytest.raises(Withdrawn):
            await mailer.send(mail(), is_wanted=is_wanted)
    assert relay.mails == []


async def test_a_mail_that_waits_for_a_connection_goes_back_with_its_lease(place: Place) -> None:
    async with (
        place.relay() as relay,
        mailer_to(place.settings(relay, max_connections=1)) as mailer,
    ):
        relay.delay_s = {"dot": 0.2}
        lease = Lease()
        sending = [
            asyncio.create_task(mailer.send(mail(), is_wanted=lambda: not lease.is_over))
            for _ in range(5)
        ]
        await until(lambda: any("DATA" in line for _, line in relay.commands), "the first DATA")
        lease.end()
        results = await asyncio.gather(*sending, return_exceptions=True)
    assert [type(result) for result in results[1:]] == [Withdrawn] * 4
    assert len(relay.mails) == 1


async def test_too_fast_costs_no_mail_anything(place: Place) -> None:
    async with place.relay() as relay, mailer_to(place.settings(relay)) as mailer:
        await asyncio.gather(*(mailer.send(mail()) for _ in range(20)))
        relay.mails.clear()
        relay.fault(Fault("rcpt", reply=SES, times=10))
        results = await asyncio.gather(*(mailer.send(mail()) for _ in range(100)))
        replies = mailer.relays[0].replies
    assert Counter(one.reply_class for one in results) == {C.ACCEPTED: 100}
    assert (replies[C.THROTTLED], replies[C.ACCEPTED]) == (10, 120)


async def test_one_refusal_stops_no_other_mail(place: Place) -> None:
    async with (
        place.relay() as relay,
        mailer_to(place.settings(relay, max_connections=1)) as mailer,
    ):
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
        relay.fault(Fault("rcpt", reply=SES, recipient="late@example.org", times=1))
        late = asyncio.create_task(mailer.send(mail("late@example.org")))
        results = await asyncio.gather(*(mailer.send(mail()) for _ in range(5)))
        assert not late.done()
        assert (await late).reply_class is C.ACCEPTED
    assert {one.reply_class for one in results} == {C.ACCEPTED}
    assert relay.mails[-1].recipients == ("late@example.org",)


async def test_a_mail_that_is_always_too_fast_is_the_callers_business(place: Place) -> None:
    patience = Patience(first_pause_s=0.01, refusals=5)
    async with (
        place.relay() as relay,
        mailer_to(place.settings(relay), patience=patience) as mailer,
    ):
        relay.fault(Fault("rcpt", reply=SES))
        result = await mailer.send(mail())
        assert (result.reply_class, result.smtp) == (C.THROTTLED, "454")
        assert mailer.relays[0].replies[C.THROTTLED] <= 5
        assert mailer.is_available


async def test_a_long_pause_that_a_relay_asks_for_is_left_to_the_retry_topics(
    place: Place,
) -> None:
    async with place.relay() as relay, mailer_to(place.settings(relay)) as mailer:
        relay.fault(Fault("rcpt", reply="451 4.7.0 rate limited, wait 5 minutes"))
        result = await mailer.send(mail())
        assert (result.reply_class, result.retry_after_s) == (C.THROTTLED, 300)
        assert mailer.relays[0].replies[C.THROTTLED] == 1


async def test_a_relay_that_asks_for_a_pause_loses_the_mail_to_the_next_one(place: Place) -> None:
    async with place.relay() as first, place.relay() as second:
        relays = place.settings(first, "a"), place.settings(second, "b")
        async with mailer_to(*relays) as mailer:
            first.fault(Fault("rcpt", reply="451 4.7.0 too fast, wait 30 seconds", times=1))
            result = await mailer.send(mail())
    assert (result.relay, result.reply_class) == ("b", C.ACCEPTED)
    assert not first.mails


async def test_mails_that_would_wait_for_long_go_by_the_next_relay(place: Place) -> None:
    async with place.relay() as first, place.relay() as second:
        relays = place.settings(first, "a", rate_per_s=0.1), place.settings(second, "b")
        async with mailer_to(*relays) as mailer:
            results = [await mailer.send(mail()) for _ in range(4)]
    assert [one.relay for one in results] == ["a", "b", "b", "b"]


async def test_a_relay_that_goes_away_lets_those_go_who_wait_for_a_turn(place: Place) -> None:
    async with place.relay() as relay, mailer_to(place.settings(relay, rate_per_s=0.5)) as mailer:
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
        waiting = [asyncio.create_task(mailer.send(mail())) for _ in range(10)]
        await relay.stop()
        results = await asyncio.wait_for(asyncio.gather(*waiting), 10)
    assert Counter(one.reply_class for one in results) == {C.TRANSPORT: 10}


async def test_the_metrics_tell_what_relays_do(place: Place) -> None:
    async with place.relay() as first, place.relay() as second:
        relays = (
            place.settings(first, "a", max_connections=3),
            place.settings(second, "b", rate_per_s=7.5),
        )
        async with mailer_to(*relays) as mailer:
            registry = CollectorRegistry()
            registry.register(RelayMetrics(lambda: mailer.relays, topic="mails"))

            def of_relay(name: str, relay: str) -> float | None:
                return registry.get_sample_value(name, {"topic": "mails", "relay": relay})

            def connections(state: str) -> float | None:
                return registry.get_sample_value(
                    "mailtopic_connections", {"topic": "mails", "relay": "a", "state": state}
                )

            def replies(relay: str, kind: str) -> float | None:
                labels = {"topic": "mails", "relay": relay, "class": kind}
                return registry.get_sample_value("mailtopic_smtp_replies_total", labels)

            def is_open(relay: str) -> float | None:
                return of_relay("mailtopic_breaker_open", relay)

            first.delay_s = {"dot": 0.2}
            sending = [asyncio.create_task(mailer.send(mail())) for _ in range(6)]
            await until(lambda: connections("busy") == 3, "three busy connections")
            await asyncio.gather(*sending)
            assert (connections("busy"), connections("idle")) == (0, 3)
            first.fault(Fault("rcpt", reply="550 5.1.1 no such user", times=1))
            await mailer.send(mail())
            assert [replies("a", kind) for kind in ("accepted", "hard_bounce")] == [6, 1]
            assert (is_open("a"), is_open("b")) == (0, 0)
            await first.stop()
            assert (await mailer.send(mail())).relay == "b"
            assert (is_open("a"), is_open("b")) == (1, 0)
            assert (replies("a", "transport") or 0) >= 1
            assert replies("b", "accepted") == 1
            limits = [of_relay("mailtopic_connections_limit", relay) for relay in ("a", "b")]
            assert limits == [3, 10]
            rates = [of_relay("mailtopic_relay_rate_limit_per_s", relay) for relay in ("a", "b")]
            assert rates == [None, 7.5]
            await first.start()
            await until(lambda: is_open("a") == 0, "the breaker closes")
