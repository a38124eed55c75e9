"""How long probes of an unavailable relay wait."""

import pytest

from mailtopic_sender.domain.replies import ReplyClass as C
from mailtopic_sender.engine.relays.breaker import Backoff


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
    found = Backoff().pause_s(failures, kind)
    assert 0.9 * pause_s <= found <= 1.1 * pause_s
