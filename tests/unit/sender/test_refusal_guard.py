"""Words that many recipients get alike are about none of them."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_sender.domain.refusals import Blame, RefusalGuard, RefusalLimits, Verdict
from mailtopic_sender.domain.reply_text import wording


class Guarded:
    """A guard, a clock, and recipients that are numbered."""

    def __init__(self, limits: RefusalLimits | None = None) -> None:
        self.guard = RefusalGuard(limits)
        self.now_s = 1000.0

    def refuse(
        self,
        number: int,
        words: str = "550 computer says no",
        *,
        blame: Blame = Blame.UNCLEAR,
        domain: str = "one.example",
    ) -> Verdict:
        self.now_s += 0.01
        return self.guard.note_refused(
            words, recipient=f"u{number}@{domain}", domain=domain, blame=blame, now_s=self.now_s
        )

    def refuse_all(self, numbers: Iterable[int], **how: object) -> list[Verdict]:
        return [self.refuse(number, **how) for number in numbers]  # type: ignore[arg-type]

    def take(self, mails: int = 1) -> bool:
        """Take mails that began now; returns whether it opened."""
        self.now_s += 0.01
        opened = False
        for _ in range(mails):
            self.guard.note_accepted()
            opened |= self.guard.may_open(began_s=self.now_s, now_s=self.now_s)
        return opened


def test_unknown_words_count_nine_times_and_then_hold_every_mail() -> None:
    guarded = Guarded()
    verdicts = guarded.refuse_all(range(12))
    assert verdicts == [Verdict.COUNTS] * 9 + [Verdict.HELD] * 3
    assert guarded.guard.is_closed


def test_words_about_the_sender_hold_mails_after_three_recipients() -> None:
    guarded = Guarded()
    verdicts = guarded.refuse_all(range(3), words="550 from not allowed", blame=Blame.OURS)
    assert verdicts == [Verdict.COUNTS, Verdict.COUNTS, Verdict.HELD]


def test_one_recipient_that_is_refused_again_and_again_holds_nobody_up() -> None:
    guarded = Guarded()
    assert set(guarded.refuse_all([7] * 100)) == {Verdict.COUNTS}


def test_thirty_dead_addresses_of_one_provider_are_bounces() -> None:
    guarded = Guarded()
    known = guarded.refuse_all(range(30), words="550 5.1.1 user unknown", blame=Blame.RECIPIENT)
    assert set(known) == {Verdict.COUNTS}


def test_a_whole_dead_domain_is_no_reason_to_hold_the_others() -> None:
    guarded = Guarded()
    known = guarded.refuse_all(range(500), words="550 5.1.1 user unknown", blame=Blame.RECIPIENT)
    assert set(known) == {Verdict.COUNTS}


def test_a_relay_that_knows_nobody_any_more_is_noticed() -> None:
    guarded = Guarded()
    for number in range(49):
        verdict = guarded.refuse(
            number, "550 5.1.1 unknown", blame=Blame.RECIPIENT, domain=f"d{number}.example"
        )
        assert verdict is Verdict.COUNTS
    assert guarded.refuse(99, "550 5.1.1 unknown", blame=Blame.RECIPIENT) is Verdict.HELD


@given(st.integers(min_value=2, max_value=8))
def test_refusals_among_mails_that_are_taken_are_bounces(every: int) -> None:
    guarded = Guarded()
    for number in range(400):
        if number % every == 0:
            assert guarded.refuse(number) is Verdict.COUNTS
        else:
            guarded.take()


def test_mails_taken_before_the_words_came_up_say_nothing_against_them() -> None:
    guarded = Guarded()
    guarded.take(10_000)
    guarded.refuse(0)
    guarded.take(50)
    assert guarded.refuse_all(range(1, 11))[-1] is Verdict.HELD


def test_while_closed_one_mail_tries_after_ever_longer_pauses() -> None:
    guarded = Guarded(RefusalLimits(hold_s=1000))
    guarded.refuse_all(range(10))
    tries = []
    start_s = guarded.now_s
    while guarded.now_s < start_s + 200:
        guarded.now_s += 0.25
        if guarded.guard.may_try("one.example", guarded.now_s):
            tries.append(guarded.now_s - start_s)
            assert guarded.refuse(len(tries) + 100) is Verdict.HELD
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert tries[0] <= 1.3
    assert gaps == sorted(gaps)
    assert 29 < max(gaps) < 32
    assert len(tries) < 15


@pytest.mark.parametrize("blame", Blame)
def test_a_quiet_topic_is_held_for_a_minute_and_nobody_bounces_after_it(blame: Blame) -> None:
    guarded = Guarded(RefusalLimits(known_domains=1))
    verdicts = guarded.refuse_all(range(60), blame=blame)
    assert verdicts[-1] is Verdict.HELD
    closed_at_s = guarded.now_s
    guarded.now_s += 40
    assert guarded.guard.may_try("one.example", guarded.now_s)  # the turn of the pause
    assert not guarded.guard.may_try("one.example", guarded.now_s)
    assert guarded.now_s + guarded.guard.wait_s("one.example", guarded.now_s) <= closed_at_s + 60
    guarded.now_s = closed_at_s + 61
    for number in range(60, 90):
        assert guarded.guard.wait_s("one.example", guarded.now_s) == 0
        assert guarded.guard.may_try("one.example", guarded.now_s)
        assert guarded.refuse(number, blame=blame) is Verdict.LATER
    assert guarded.refuse(90, "553 from denied", blame=Blame.OURS) is Verdict.LATER
    assert guarded.guard.is_closed
    assert guarded.take()
    assert guarded.refuse(91, "550 5.1.1 unknown", blame=Blame.RECIPIENT) is Verdict.COUNTS


def test_words_without_end_need_no_memory_without_end() -> None:
    guarded = Guarded()
    for number in range(5000):
        assert guarded.refuse(number, f"550 no {number}", blame=Blame.OURS) is not None
        if number % 1000 == 999:
            guarded.take()
    guard = guarded.guard
    sizes = [len(each) for each in vars(guard).values() if hasattr(each, "__len__")]
    assert max(sizes) <= 5000
    assert len(guard._alike) <= 200  # noqa: SLF001 - what grew
    assert len(guard._suspects) <= 400  # noqa: SLF001 - the same


def test_a_domain_that_was_not_refused_need_not_wait_for_one_that_was() -> None:
    guarded = Guarded()
    guarded.refuse_all(range(10))
    assert not guarded.guard.may_try("one.example", guarded.now_s)
    assert guarded.guard.may_try("two.example", guarded.now_s)
    assert not guarded.guard.may_try("two.example", guarded.now_s)
    assert not guarded.guard.may_try("three.example", guarded.now_s)
    assert guarded.guard.wait_s("three.example", guarded.now_s) == 1.0
    assert guarded.take()
    assert guarded.guard.may_try("one.example", guarded.now_s)


def test_a_mail_that_was_under_way_when_it_closed_does_not_open_it() -> None:
    guarded = Guarded()
    began_s = guarded.now_s
    guarded.refuse_all(range(10))
    guarded.guard.note_accepted()
    assert not guarded.guard.may_open(began_s=began_s, now_s=guarded.now_s)
    assert guarded.guard.is_closed


def test_words_that_were_everybodys_do_not_count_right_after_the_end() -> None:
    guarded = Guarded()
    guarded.refuse_all(range(10))
    assert guarded.take()
    assert guarded.refuse(1) is Verdict.LATER
    guarded.take(20)
    assert guarded.refuse(2, "550 5.1.1 user unknown", blame=Blame.RECIPIENT) is Verdict.COUNTS
    guarded.now_s += 301
    assert guarded.refuse(1) is Verdict.COUNTS


def test_words_that_come_back_for_everybody_close_it_after_three() -> None:
    guarded = Guarded()
    guarded.refuse_all(range(10))
    guarded.take()
    verdicts = guarded.refuse_all(range(3))
    assert verdicts == [Verdict.LATER, Verdict.LATER, Verdict.HELD]


def test_other_words_still_count_while_it_is_closed() -> None:
    guarded = Guarded()
    guarded.refuse_all(range(10))
    assert guarded.refuse(50, "550 5.1.1 unknown", blame=Blame.RECIPIENT) is Verdict.COUNTS
    assert guarded.refuse(51, "553 from denied", blame=Blame.OURS) is Verdict.HELD


def test_what_differs_from_recipient_to_recipient_is_no_part_of_the_wording() -> None:
    said = [
        "Mail for <bob@one.example> refused by mx7.relay.example [192.0.2.7] id 4fX3-22 (abuse#12)",
        "Mail for <eve@two.example> refused by mx12.relay.example [192.0.2.99] id 9zz1-1 (abuse#9)",
    ]
    assert wording(said[0]) == wording(said[1])
    assert wording("bob is not here", names=["bob"]) == wording("eve is not here", names=["eve"])
    assert wording("refused") != wording("unknown")
