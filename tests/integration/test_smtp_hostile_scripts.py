"""Any relay, any mails: what is told of a mail agrees with what the relay did with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security, SmtpTimeouts
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.relays.patience import Patience
from mailtopic_sender.mail_ports import DeliveryResult
from support.deliveries import WAYS, Way
from support.scripted_smtp import Act, Offered, ScriptedSmtp
from support.smtp_mails import mail, mailer_to

C = ReplyClass
IMPATIENT = SmtpTimeouts(envelope_s=0.1, block_s=0.1, dot_s=0.1)
IMPATIENCE = Patience(first_pause_s=0.001, longest_pause_s=0.01, refusals=3, own_refusals=2)
ANSWERS = {"rcpt": "rcpt", "data": "data", "body": "dot"}
"""A result's phase → what the server calls it."""

CUT = Act(hangs_up=True)
SILENCE = Act()
NONSENSE = Act(b"\0what\r\n")
CLOSING = Act(b"421 4.3.2 away %s\r\n", hangs_up=True)
ENVELOPE = [
    CUT,
    CLOSING,
    NONSENSE,
    Act(b"450 4.2.0 later %s\r\n"),
    Act(b"450-4.2.0 later\r\n450 4.2.0 %s\r\n"),
    Act(b"554 5.7.1 blocked %s\r\n"),
    Act(b"421 4.7.0 too fast %s\r\n", hangs_up=True),
]
BEFORE_MAIL = [*ENVELOPE, Act(b"354 what\r\n")]
AT_RCPT = [*ENVELOPE, Act(b"550 5.1.1 no %s\r\n"), Act(b"452 4.2.2 full %s\r\n"), SILENCE]
AT_DATA = [*ENVELOPE, Act(b"354 go on\r\n", hangs_up=True), Act(b"250 what %s\r\n"), SILENCE]
AT_DOT = [
    *ENVELOPE,
    Act(b"552 5.3.4 too big %s\r\n"),
    Act(b"250-2.0.0 taken\r\n250 2.0.0 %s\r\n", takes=True),
    Act(hangs_up=True, takes=True),
    Act(b"250", hangs_up=True, takes=True),
    Act(b"whatever\r\n", takes=True),
    Act(takes=True),
    SILENCE,
]


@dataclass(frozen=True)
class Play:
    """A relay's behaviour.

    Attributes:
        mails: for each mail what is done at RCPT, DATA and the dot; None for the usual.
        begins: what is done at each MAIL, in turn.
    """

    mails: list[Mapping[str, Act | None]]
    begins: list[Act | None]
    pipelining: bool
    in_pieces_of: int | None
    forgets_refusals: bool
    connections: int


def mostly_usual(acts: list[Act], *, of_ten: int) -> st.SearchStrategy[Act | None]:
    """One of these acts, so many times of ten, and else the usual."""
    return st.integers(0, 9).flatmap(
        lambda number: st.sampled_from(acts) if number < of_ten else st.none()
    )


mails = st.fixed_dictionaries(
    {
        "rcpt": mostly_usual(AT_RCPT, of_ten=2),
        "data": mostly_usual(AT_DATA, of_ten=1),
        "dot": mostly_usual(AT_DOT, of_ten=4),
    }
)
plays = st.builds(
    Play,
    mails=st.lists(mails, min_size=1, max_size=10),
    begins=st.lists(mostly_usual(BEFORE_MAIL, of_ten=1), min_size=5, max_size=20),
    pipelining=st.booleans(),
    in_pieces_of=st.sampled_from([None, None, 1, 7]),
    forgets_refusals=st.booleans(),
    connections=st.integers(1, 3),
)


def recipient(number: int) -> str:
    return f"{tag(number)}@example.org"


def tag(number: int) -> str:
    """A word that is nobody else's, and no number: those are taken out of what is told."""
    return f"tag{'abcdefghij'[number]}"


async def played(play: Play, way: Way) -> tuple[list[DeliveryResult], list[list[Offered]]]:
    """What was told of each mail, and every attempt at it that the relay knows."""
    acts = {recipient(number): one for number, one in enumerate(play.mails)}
    begins = cycle(play.begins)

    def script(phase: str, to: str) -> Act | None:
        act = next(begins) if phase == "mail" else acts[to][phase]
        if act is None or b"%s" not in act.says:
            return act
        word = to.partition("@")[0].encode()
        return Act(act.says.replace(b"%s", word), act.hangs_up, act.takes)

    async with ScriptedSmtp(script, pipelining=play.pipelining) as server:
        server.in_pieces_of = play.in_pieces_of
        server.forgets_refusals = play.forgets_refusals
        relay = RelaySettings(
            server.host,
            server.port,
            security=Security.NONE,
            max_connections=play.connections,
            timeouts=IMPATIENT,
        )
        async with mailer_to(relay, patience=IMPATIENCE) as mailer:
            results = await way(mailer, [mail(to) for to in acts])
    return results, [server.offered[to] for to in acts]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(play=plays)
async def test_what_is_told_of_a_mail_is_what_happened_to_it(play: Play, way: Way) -> None:
    results, offered = await played(play, way)
    assert len(results) == len(play.mails)
    for number, (result, attempts) in enumerate(zip(results, offered, strict=True)):
        check(result, attempts)
        others = [tag(other) for other in range(len(results)) if other != number]
        assert not [word for word in others if word in result.detail], "another mail's answer"


def check(result: DeliveryResult, attempts: list[Offered]) -> None:
    taken = [one for one in attempts if one.taken]
    assert len(taken) <= 1, "sent twice"
    if result.reply_class is C.ACCEPTED:
        assert [one.said["dot"][:4] in {b"250 ", b"250-"} for one in taken] == [True]
    elif taken:
        assert result.reply_class is C.UNKNOWN
    if result.reply_class is C.UNKNOWN:
        assert any(one.said.get("data", b"").startswith(b"354") for one in attempts)
    if result.reply_class.bounces:
        assert result.phase in ANSWERS
    if result.smtp is not None and result.phase in ANSWERS:
        said = [one.said.get(ANSWERS[result.phase], b"") for one in attempts]
        assert any(words.decode().startswith(result.smtp[:3]) for words in said)
