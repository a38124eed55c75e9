"""Trace context in headers: what is valid goes through, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_contract import MailHeaders, TraceContext, decode_headers, read_trace_context

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (PARENT, PARENT),
        (f"00-{TRACE_ID}-{SPAN_ID}-00", f"00-{TRACE_ID}-{SPAN_ID}-00"),
        (f"01-{TRACE_ID}-{SPAN_ID}-03", f"00-{TRACE_ID}-{SPAN_ID}-01"),
        (f"cc-{TRACE_ID}-{SPAN_ID}-02-what-comes", f"00-{TRACE_ID}-{SPAN_ID}-00"),
    ],
)
def test_a_valid_traceparent_of_any_version_is_read(given: str, read: str) -> None:
    assert read_trace_context([given]) == TraceContext(read)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-01-more",
        f"00-{TRACE_ID}-{SPAN_ID}-1",
        f"00-{TRACE_ID}-{SPAN_ID}-0g",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"00_{TRACE_ID}_{SPAN_ID}_01",
        f"{PARENT}\n",
        f" {PARENT}",
        f"01-{TRACE_ID}-{SPAN_ID}-01-{'x' * 100_000}",
        "someone@example.com",
        "０" * 55,
    ],
)
def test_a_traceparent_that_is_not_valid_is_left_out(given: str) -> None:
    assert read_trace_context([given], ["rojo=1"]) is None


def test_a_second_traceparent_makes_both_invalid() -> None:
    assert read_trace_context([PARENT, PARENT]) is None
    assert decode_headers([("traceparent", PARENT.encode())] * 2).trace is None


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["rojo=00f067,congo=t61"], "rojo=00f067,congo=t61"),
        (["rojo=1", "congo=2"], "rojo=1,congo=2"),
        (["fw529a3039@dt=FfTw;x", ""], "fw529a3039@dt=FfTw;x,"),
        (["a=1 , b=2"], "a=1 , b=2"),
        (["a=1,a=2"], None),
        (["a"], None),
        (["a="], None),
        (["A=1"], None),
        (["a=\x00"], None),
        (["a=é"], None),
        (["a=1\n"], None),
        ([",".join(f"k{n}=1" for n in range(33))], None),
        ([f"a={'x' * 600}"], None),
        ([], None),
    ],
)
def test_a_tracestate_goes_through_as_it_came_or_not_at_all(
    given: list[str], read: str | None
) -> None:
    assert read_trace_context([PARENT], given) == TraceContext(PARENT, read)


@pytest.mark.parametrize(
    "value", [None, b"", b"\xff", PARENT.encode() + b"\xff", b"x" * 1_000_000, "é".encode() * 55]
)
def test_a_hostile_traceparent_of_a_record_costs_the_trace_and_nothing_else(
    value: bytes | None,
) -> None:
    decoded = decode_headers([("traceparent", value), ("tracestate", b"a=1"), ("mt-attempt", b"2")])
    assert decoded == MailHeaders(attempt=2)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_whatever_is_read_is_short_ascii_and_reads_the_same_again(
    parent: bytes, state: bytes
) -> None:
    for first in (parent, PARENT.encode()):
        decoded = decode_headers([("traceparent", first), ("tracestate", state)])
        assert decode_headers(decoded.encode()) == decoded
        for _name, value in decoded.encode():
            assert value.isascii()
            assert len(value) <= 512
