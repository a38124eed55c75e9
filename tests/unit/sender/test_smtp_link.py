"""Replies out of octets, whatever they are and however they come in pieces."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailtopic_sender.adapters.smtp_link import LinkError, SmtpLink
from mailtopic_sender.adapters.smtp_reply import MAX_REPLY_OCTETS, SmtpReply
from support.smtp_sessions import DeadEnd

_LINE = re.compile(rb"([0-9]{3})(?:([ -])([^\n]*?))?\r*\n")


@dataclass
class Heard:
    replies: list[SmtpReply]
    failure: str | None
    is_usable: bool


async def heard(pieces: Sequence[bytes], *, expected: int = 1000) -> Heard:
    """What a link makes of octets that come in these pieces."""
    link = SmtpLink(DeadEnd())
    link.write(b"", replies=expected)
    for piece in pieces:
        link.data_received(piece)
    replies: list[SmtpReply] = []
    usable = link.is_usable
    link.eof_received()
    while True:
        try:
            replies.append(await link.reply(0.0))
        except LinkError as error:
            return Heard(replies, str(error), usable)


def cut(octets: bytes, places: Sequence[int]) -> list[bytes]:
    """The octets, cut at these places."""
    at = sorted({place % (len(octets) + 1) for place in places} | {0, len(octets)})
    return [octets[start:end] for start, end in pairwise(at)]


def understood(octets: bytes) -> Iterator[tuple[int, int]]:
    """Code and number of lines of each reply, up to the first that is none, by RFC 5321 §4.2."""
    code, lines = b"", 0
    for line in re.findall(rb"[^\n]*\n", octets):
        match = _LINE.fullmatch(line)
        if match is None or (lines and match[1] != code):
            return
        code, lines = match[1], lines + 1
        if match[2] != b"-":
            yield int(code), lines
            lines = 0


words = st.text(st.characters(codec="latin-1", exclude_characters="\n"), max_size=12).map(
    lambda text: text.encode("latin-1")
)
likely_lines = st.builds(
    lambda code, mark, text, end: code + mark + text + end,
    st.sampled_from([b"250", b"354", b"421", b"550", b"25", b"2500", b"abc", b"", b"\xb2\xb2\xb2"]),
    st.sampled_from([b" ", b"-", b"", b"_", b"\0"]),
    words,
    st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r"]),
)
streams = st.one_of(st.lists(likely_lines, max_size=12).map(b"".join), st.binary(max_size=200))
places = st.lists(st.integers(0, 10_000), max_size=20)


@given(streams, places)
async def test_the_pieces_make_no_difference(octets: bytes, places: list[int]) -> None:
    whole = await heard([octets])
    assert await heard(cut(octets, places)) == whole
    assert await heard([octets[at : at + 1] for at in range(len(octets))]) == whole


@settings(max_examples=300)
@example(b"25\n", [])
@example(b"2\r\n", [])
@given(streams, places)
async def test_what_is_a_reply_is_one_and_nothing_else_is(octets: bytes, places: list[int]) -> None:
    found = await heard(cut(octets, places))
    assert [reply.code for reply in found.replies] == [code for code, _ in understood(octets)]


texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
meant = st.tuples(
    st.integers(200, 599),
    st.sampled_from([None, "2.1.5", "4.7.1", "5.1.1"]),
    st.lists(texts.filter(lambda text: not text[0].isdigit()), min_size=1, max_size=4),
)


def written(code: int, enhanced: str | None, lines: list[str]) -> bytes:
    prefix = f"{enhanced} " if enhanced else ""
    marks = ["-"] * (len(lines) - 1) + [" "]
    return "".join(
        f"{code}{mark}{prefix}{line}\r\n" for mark, line in zip(marks, lines, strict=True)
    ).encode()


@given(st.lists(meant, max_size=5), places)
async def test_replies_are_read_as_they_were_meant(
    replies: list[tuple[int, str | None, list[str]]], places: list[int]
) -> None:
    octets = b"".join(written(*reply) for reply in replies)
    found = await heard(cut(octets, places))
    assert found.replies == [
        SmtpReply(code, enhanced, " ".join(lines)) for code, enhanced, lines in replies
    ]
    assert found.is_usable


@given(st.integers(0, 3), st.integers(0, 3), places)
async def test_a_reply_that_nobody_asked_for_ends_the_link(
    asked: int, more: int, places: list[int]
) -> None:
    octets = b"250 ok\r\n" * (asked + more)
    found = await heard(cut(octets, places), expected=asked)
    assert len(found.replies) == asked
    assert found.is_usable == (more == 0)


@settings(max_examples=20)
@given(
    st.sampled_from(
        [b"250-x\r\n", b"250 ", b"x", b"250-\n", b"\0", b"250-" + b"y" * 700 + b"\r\n"]
    ),
    st.integers(1, 5000),
)
async def test_no_server_makes_a_link_remember_more_than_the_longest_reply(
    repeated: bytes, piece: int
) -> None:
    octets = repeated * (2 * MAX_REPLY_OCTETS // len(repeated))
    link = SmtpLink(DeadEnd())
    link.write(b"", replies=1)
    for start in range(0, len(octets), piece):
        link.data_received(octets[start : start + piece])
    assert not link.is_usable
