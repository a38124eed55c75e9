"""When a relay gets no envelope behind a body any more."""

from structlog.testing import capture_logs

from mailtopic_runtime import get_logger
from mailtopic_sender.adapters.smtp_streams import Streams


def test_connections_that_end_together_count_once() -> None:
    streams = Streams("a", log=get_logger("test"))
    for _ in range(10):  # all of them open when the relay was restarted
        streams.ended(ends_before=0)
    assert streams.is_allowed
    with capture_logs() as lines:
        for _ in range(10):
            streams.ended(ends_before=1)
    assert [streams.is_allowed] == [False]
    assert [line["event"] for line in lines] == ["relay.streams_off"]
    assert lines[0]["relay"] == "a"


def test_an_end_is_forgotten_after_a_thousand_mails() -> None:
    streams = Streams("a", log=get_logger("test"))
    for end in range(5):
        streams.ended(ends_before=end)
        doubted = [streams.is_doubted]
        for _ in range(1000):
            streams.went_well()
        assert [*doubted, streams.is_doubted] == [True, False]
    allowed = [streams.is_allowed]
    streams.ended(ends_before=5)
    for _ in range(999):
        streams.went_well()
    streams.ended(ends_before=6)
    assert [*allowed, streams.is_allowed] == [True, False]
