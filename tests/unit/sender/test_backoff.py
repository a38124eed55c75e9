import pytest

from mailtopic_sender.adapters.smtp_breaker import Backoff
from mailtopic_sender.domain.replies import ReplyClass


@pytest.mark.parametrize(("failures", "pause_s"), [(1, 0.5), (2, 1), (3, 2), (4, 5), (400, 5)])
def test_probes_come_less_often_up_to_a_cap(failures: int, pause_s: float) -> None:
    found = Backoff().pause_s(failures, ReplyClass.TRANSPORT)
    assert 0.9 * pause_s <= found <= 1.1 * pause_s


def test_a_used_up_allowance_is_asked_about_rarely() -> None:
    assert Backoff().pause_s(1, ReplyClass.QUOTA) >= 54
