"""One mail meets a hostile relay at each step; its own fate is told truly, and no other changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security, SmtpTimeouts
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import DeliveryResult
from support.deliveries import WAYS, Way
from support.scripted_smtp import Act, ScriptedSmtp
from support.smtp_mails import mail, mailer_to

C = ReplyClass
VICTIM = "victim@example.org"
THESE_WAYS = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
PIPELINING = pytest.mark.parametrize("pipelining", [True, False])


@dataclass(frozen=True)
class Case:
    """What is done to the victim's mail in a phase, and what must be said of it."""

    phase: str
    act: Act
    result: ReplyClass
    smtp: str | None = None

    def __str__(self) -> str:
        words = repr(self.act.says[:24].decode("latin-1"))
        return (
            f"{self.phase} {words}{' cut' if self.act.hangs_up else ''}{' taken' * self.act.takes}"
        )


def refusals() -> Sequence[Case]:
    """Well-formed answers, some of them strange."""
    return [
        Case("rcpt", Act(b"550 5.1.1 no\r\n"), C.HARD_BOUNCE, "550 5.1.1"),
        Case("rcpt", Act(b"550-5.1.1 no\r\n550-5.1.1 never\r\n550 5.1.1 \r\n"), C.HARD_BOUNCE),
        Case("rcpt", Act(b"550\n"), C.HARD_BOUNCE, "550"),
        Case("rcpt", Act(b"550 5.1.1 \0\xff\x1b[31m\r\n"), C.HARD_BOUNCE, "550 5.1.1"),
        Case("rcpt", Act(b"550 " + b"x" * 30_000 + b"\r\n"), C.HARD_BOUNCE, "550"),
        Case("rcpt", Act(b"450 4.2.0 later\r\n"), C.TRANSIENT, "450 4.2.0"),
        Case("rcpt", Act(b"421 4.3.2 away\r\n", hangs_up=True), C.CLOSING, "421 4.3.2"),
        Case("rcpt", Act(b"421 4.3.2 away\r\n"), C.CLOSING, "421 4.3.2"),
        Case("rcpt", Act(b"354 go on\r\n"), C.PROTOCOL, "354"),
        Case("data", Act(b"554 5.5.1 no valid recipients\r\n"), C.PROTOCOL, "554 5.5.1"),
        Case("data", Act(b"451 4.3.0 later\r\n"), C.TRANSIENT, "451 4.3.0"),
        Case("data", Act(b"250 ok\r\n"), C.PROTOCOL, "250"),
        Case("data", Act(b"421 4.3.2 away\r\n", hangs_up=True), C.CLOSING, "421 4.3.2"),
        Case("dot", Act(b"552 5.3.4 too big\r\n"), C.CONTENT, "552 5.3.4"),
        Case("dot", Act(b"554-5.6.0 bad\r\n554 5.6.0 content\r\n"), C.CONTENT, "554 5.6.0"),
        Case("dot", Act(b"451 4.3.0 disk full\r\n"), C.TRANSIENT, "451 4.3.0"),
        Case("dot", Act(b"421 4.3.2 away\r\n", hangs_up=True), C.CLOSING, "421 4.3.2"),
        Case("dot", Act(b"354 go on\r\n"), C.PROTOCOL, "354"),
        Case("dot", Act(b"250-taken\r\n250-2.0.0\r\n250 ok\r\n", takes=True), C.ACCEPTED, "250"),
        Case("dot", Act(b"299 ok\r\n", takes=True), C.ACCEPTED, "299"),
    ]


NONSENSE = (
    b"hello\r\n",
    b"\r\n",
    b"25\r\n",
    b"2x0 ok\r\n",
    b"\0\0\0\0\r\n",
    b"250_ok\r\n",
    b"250-ok\r\n550 no\r\n",
    b"250-ok\r\n" * 9000,
    b"250 " + b"x" * 40_000,
    b"\x16\x03\x01\x02\x00\r\n",
)


def nonsense() -> Sequence[Case]:
    """What is no answer, or a cut, in each phase."""
    ends = [Act(words) for words in NONSENSE]
    ends += [Act(hangs_up=True), Act(b"25", hangs_up=True)]
    taken = [Act(hangs_up=True, takes=True), Act(b"250-o", hangs_up=True, takes=True)]
    return [
        *(Case(phase, end, _before_dot(end)) for phase in ("rcpt", "data") for end in ends),
        *(Case("dot", end, C.UNKNOWN) for end in [*ends, *taken]),
    ]


def _before_dot(end: Act) -> ReplyClass:
    return C.CLOSING if end.hangs_up else C.PROTOCOL


async def delivered(
    acts: Mapping[tuple[str, str], Act],
    way: Way,
    *,
    pipelining: bool,
    in_pieces_of: int | None = None,
    connections: int = 2,
    timeouts: SmtpTimeouts | None = None,
) -> tuple[dict[str, DeliveryResult], ScriptedSmtp]:
    """Eleven mails and, in the midst of them, the victims', to whom things are done by phase."""
    recipients = [f"user{number}@example.org" for number in range(11)]
    recipients[5:5] = [victim for _, victim in acts]

    def script(phase: str, recipient: str) -> Act | None:
        return acts.get((phase, recipient))

    async with ScriptedSmtp(script, pipelining=pipelining) as server:
        server.in_pieces_of = in_pieces_of
        settings = RelaySettings(
            server.host,
            server.port,
            security=Security.NONE,
            max_connections=connections,
            timeouts=timeouts or SmtpTimeouts(),
        )
        async with mailer_to(settings) as mailer:
            results = await way(mailer, [mail(recipient) for recipient in recipients])
    return dict(zip(recipients, results, strict=True)), server


def check(case: Case, results: dict[str, DeliveryResult], server: ScriptedSmtp) -> None:
    victim = results.pop(VICTIM)
    assert victim.reply_class is case.result
    if case.smtp is not None:
        assert victim.smtp == case.smtp
    assert server.taken(VICTIM) == case.act.takes
    check_others(results, server)


def check_others(results: dict[str, DeliveryResult], server: ScriptedSmtp) -> None:
    for recipient, result in results.items():
        assert (recipient, result.reply_class) == (recipient, C.ACCEPTED)
        assert server.taken(recipient) == 1


@pytest.mark.parametrize("case", [*refusals(), *nonsense()], ids=str)
@PIPELINING
@THESE_WAYS
async def test_a_hostile_answer_is_one_mails_fate(
    case: Case, way: Way, *, pipelining: bool
) -> None:
    acts = {(case.phase, VICTIM): case.act}
    results, server = await delivered(acts, way, pipelining=pipelining)
    check(case, results, server)


@pytest.mark.parametrize("case", [one for one in refusals() if len(one.act.says) < 99], ids=str)
@THESE_WAYS
async def test_answers_in_single_octets_mean_the_same(case: Case, way: Way) -> None:
    acts = {(case.phase, VICTIM): case.act}
    results, server = await delivered(acts, way, pipelining=True, in_pieces_of=1)
    check(case, results, server)


@PIPELINING
@pytest.mark.parametrize("phase", ["rcpt", "data"])
@THESE_WAYS
async def test_answers_to_what_was_not_said_yet_are_none(
    phase: str, way: Way, *, pipelining: bool
) -> None:
    early = Act(b"250 ok\r\n354 go on\r\n250 taken\r\n" * 3)
    results, server = await delivered({(phase, VICTIM): early}, way, pipelining=pipelining)
    assert results.pop(VICTIM).reply_class in {C.CLOSING, C.PROTOCOL}
    assert not server.taken(VICTIM)
    check_others(results, server)


@THESE_WAYS
async def test_more_answers_to_the_dot_than_one_are_not_the_next_mails(way: Way) -> None:
    # Without PIPELINING: with it, they could be answers to the next mail's commands.
    several = Act(b"250 ok\r\n" * 9, takes=True)
    results, server = await delivered({("dot", VICTIM): several}, way, pipelining=False)
    check_others(results, server)


@PIPELINING
@THESE_WAYS
async def test_silence_is_waited_out_and_no_other_mail_waits(way: Way, *, pipelining: bool) -> None:
    silence = {
        ("rcpt", "rcpt@example.org"): Act(),
        ("data", "data@example.org"): Act(),
        ("dot", "dot@example.org"): Act(),
        ("dot", "taken@example.org"): Act(takes=True),
    }
    results, server = await delivered(
        silence,
        way,
        pipelining=pipelining,
        connections=len(silence) + 1,
        timeouts=SmtpTimeouts(envelope_s=2, block_s=2, dot_s=2),
    )
    told = {to.partition("@")[0]: results.pop(to).reply_class for _, to in silence}
    assert told == {"rcpt": C.CLOSING, "data": C.CLOSING, "dot": C.UNKNOWN, "taken": C.UNKNOWN}
    assert [server.taken(to) for _, to in silence] == [0, 0, 0, 1]
    check_others(results, server)
