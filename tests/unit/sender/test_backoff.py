"""How long probes of an unavailable relay wait."""

import pytest

from mailtopic_sender.domain.replies import ReplyClass as C
from mailtopic_sender.engine.relays.backoff import Backoff

WINDOW_S = 600


@pytest.mark.parametrize(
    ("kind", "failures", "pause_s"),
    [
        (C.TRANSPORT, 1, 0.5),
        (C.TRANSPORT, 2, 1),
        (C.TRANSPORT, 3, 2),
        (C.POLICY, 4, 5),
        (C.TRANSPORT, 400, 5),
        (C.AUTH, 1, 1),
        (C.AUTH, 400, 30),
        (C.QUOTA, 1, 30),
        (C.QUOTA, 3, 120),
        (C.QUOTA, 400, 600),
    ],
)
def test_probes_come_less_often_up_to_a_cap(kind: C, failures: int, pause_s: float) -> None:
    found = Backoff().pause_s(failures, kind, phase="mail")
    assert 0.9 * pause_s <= found <= 1.1 * pause_s


def login_pause_s(failures: int, share: float) -> float:
    return Backoff().pause_s(failures, C.AUTH, phase="auth", share=share)


@pytest.mark.parametrize("share", [1.0, 0.5, 1 / 3])
def test_after_a_refused_login_a_sender_tries_once_in_ten_minutes(share: float) -> None:
    for failures in range(1, 20):
        assert WINDOW_S < login_pause_s(failures, share) <= 770


@pytest.mark.parametrize("share", [0.25, 0.1, 0.01, 0.0])
def test_a_sender_of_a_large_group_tries_less_often_but_goes_on(share: float) -> None:
    assert 630 <= login_pause_s(1, share) <= 2 * 3600


@pytest.mark.parametrize("senders", [1, 2, 3, 4])
def test_a_group_makes_fewer_than_five_tries_in_any_ten_minutes(senders: int) -> None:
    tries = []
    for number in range(senders):
        at_s = 0.1 * number
        for failures in range(1, 200):
            tries.append(at_s)
            at_s += login_pause_s(failures, 1 / senders)
    tries.sort()
    assert most_in_a_window(tries) < 5


def test_a_large_group_makes_fewer_than_five_on_average() -> None:
    senders, tries = 12, []
    for _ in range(senders):
        at_s = 0.0
        for failures in range(1, 100):
            at_s += login_pause_s(failures, 1 / senders)
            tries.append(at_s)
    # As long as each of them tries.
    end_s = 99 * 2800 * 0.9
    assert sum(at_s < end_s for at_s in tries) / (end_s / WINDOW_S) < 5


def most_in_a_window(tries: list[float]) -> int:
    return max(sum(start_s <= at_s < start_s + WINDOW_S for at_s in tries) for start_s in tries)
