"""Relays that allow only so much, and say so as providers do: nearly all of it is used."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security
from mailtopic_sender.domain.replies import ReplyClass
from support.scripted_smtp import Act, Script, ScriptedSmtp
from support.smtp_mails import mail, mailer_to

C = ReplyClass
LEARNING_S = 1.5


class Bucket:
    """Allows so many mails a second, and a second's worth at once."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._tokens = per_s
        self._filled_at_s = time.monotonic()
        self.refused_at_s: list[float] = []

    def take(self) -> bool:
        now_s = time.monotonic()
        self._tokens += (now_s - self._filled_at_s) * self._per_s
        self._tokens = min(self._tokens, self._per_s)
        self._filled_at_s = now_s
        if self._tokens < 1:
            self.refused_at_s.append(now_s)
            return False
        self._tokens -= 1
        return True


def limited(bucket: Bucket, phase: str, act: Act) -> Script:
    def script(at: str, _to: str) -> Act | None:
        return act if at == phase and not bucket.take() else None

    return script


async def sent(script: Script, count: int) -> tuple[ScriptedSmtp, Counter[ReplyClass], float]:
    """Send so many mails at once; returns what came of them, and in how many seconds."""
    async with ScriptedSmtp(script) as server:
        relay = RelaySettings(server.host, server.port, security=Security.NONE)
        async with mailer_to(relay) as mailer:
            began_s = time.monotonic()
            results = await asyncio.gather(
                *(mailer.send(mail(f"user{number}@example.org")) for number in range(count))
            )
            took_s = time.monotonic() - began_s
    return server, Counter(each.reply_class for each in results), took_s


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("phase", "act"),
    [
        ("dot", Act(b"454 Throttling failure: Maximum sending rate exceeded.\r\n")),
        ("dot", Act(b"432 4.3.2 sender thread limit exceeded\r\n")),
        ("mail", Act(b"421 4.7.0 too many mails, closing\r\n", hangs_up=True)),
    ],
    ids=["ses", "microsoft", "closing"],
)
async def test_a_limit_that_nobody_set_is_found_and_used(
    phase: str, act: Act, figure: Callable[[str], None]
) -> None:
    bucket = Bucket(100)
    began_s = time.monotonic()
    _, outcomes, took_s = await sent(limited(bucket, phase, act), 500)
    late = sum(at_s - began_s > LEARNING_S for at_s in bucket.refused_at_s)
    figure(
        f"500 mails, 100/s allowed: {took_s:.1f} s, {len(bucket.refused_at_s)} refusals,"
        f" {late} of them after {LEARNING_S:g} s"
    )
    # A second's worth goes at once; for the other 400 it takes four seconds at best.
    assert outcomes == {C.ACCEPTED: 500}
    assert took_s < 12
    assert len(bucket.refused_at_s) < 500


@pytest.mark.timeout(60)
@pytest.mark.parametrize("words", [b"421 4.7.0 try again later", b"454 4.7.0 too many"])
async def test_refusals_at_random_hold_up_no_other_mail(
    words: bytes, figure: Callable[[str], None]
) -> None:
    chance = random.Random(3)  # noqa: S311 - repeatable on purpose
    act = Act(words + b"\r\n", hangs_up=words.startswith(b"421"))

    def script(phase: str, _to: str) -> Act | None:
        return act if phase == "rcpt" and chance.random() < 0.02 else None

    server, outcomes, took_s = await sent(script, 1_000)
    figure(f"1,000 mails, 2 % of {words.decode()[:3]} at random: {took_s:.1f} s")
    assert outcomes == {C.ACCEPTED: 1_000}
    assert all(server.taken(recipient) == 1 for recipient in server.offered)
    assert took_s < 15


async def test_a_recipient_who_is_always_too_many_is_the_callers_business() -> None:
    act = Act(b"450 4.7.0 too many mails for this recipient\r\n")

    def script(phase: str, to: str) -> Act | None:
        return act if phase == "rcpt" and to.startswith("user7@") else None

    _, outcomes, _ = await sent(script, 100)
    assert outcomes == {C.ACCEPTED: 99, C.THROTTLED: 1}
