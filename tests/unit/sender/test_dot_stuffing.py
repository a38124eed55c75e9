import pytest

from mailtopic_sender.adapters.smtp_session import dot_stuffed


@pytest.mark.parametrize(
    ("content", "stuffed"),
    [
        (b"", b""),
        (b"a.b\r\n", b"a.b\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"a\r\n.\r\n.b\r\n", b"a\r\n..\r\n..b\r\n"),
        (b"..\r\n", b"...\r\n"),
    ],
)
def test_every_leading_dot_is_doubled(content: bytes, stuffed: bytes) -> None:
    assert dot_stuffed(content) == stuffed
