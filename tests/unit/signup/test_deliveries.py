"""What a mail's outcome means to the person who waits for it."""

import pytest

from mailtopic_contract import Outcome
from mailtopic_signup.domain.challenge import Delivery, delivery_of


@pytest.mark.parametrize("reply_class", ["hard_bounce", "mailbox_full", "provider_suppressed"])
def test_an_address_that_was_refused_is_shown_as_refused(reply_class: str) -> None:
    assert delivery_of(Outcome.BOUNCED, reply_class=reply_class) is Delivery.BOUNCED


@pytest.mark.parametrize("reply_class", ["content", "sender", "reputation", "of a later version"])
def test_no_address_is_shown_as_refused_for_a_fault_of_ours(reply_class: str) -> None:
    assert delivery_of(Outcome.BOUNCED, reply_class=reply_class) is Delivery.FAILED


def test_an_address_that_a_relay_cannot_carry_is_shown_as_refused() -> None:
    found = delivery_of(Outcome.BOUNCED, reply_class="content", smtp="553 5.6.7")
    assert found is Delivery.BOUNCED
