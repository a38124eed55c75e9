"""The benchmarks' sink is the relay that it says it is, or every figure is worth nothing."""

import smtplib
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from benchmarks.side_by_side.relay_sink import HOST, Sink
from benchmarks.side_by_side.tools import go_program, has_go, run
from support.requirements import require

BODY = "From: a@bench.test\r\nSubject: x\r\n\r\n..two dots\r\nend\r\n"


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    if not has_go():
        require("integration", "the sink is built with Go, which is not here")
    with Sink(go_program("sink", print), tmp_path_factory.mktemp("sink")) as running:
        yield running


@pytest.fixture
def client(sink: Sink) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(HOST, sink.port, timeout=30) as smtp:
        smtp.ehlo()
        smtp.starttls(context=ssl.create_default_context(cafile=sink.ca_file))
        smtp.ehlo()
        yield smtp


def test_it_offers_what_a_good_relay_does(client: smtplib.SMTP) -> None:
    offered = {"pipelining", "8bitmime", "smtputf8", "size"}
    assert offered <= client.esmtp_features.keys()
    assert not client.has_extn("starttls")


def test_it_takes_nothing_in_the_clear(sink: Sink) -> None:
    with smtplib.SMTP(HOST, sink.port, timeout=30) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("starttls")
        assert smtp.docmd("MAIL", "FROM:<a@bench.test>")[0] == 530


def test_it_notes_each_mail_with_number_and_time(sink: Sink, client: smtplib.SMTP) -> None:
    sink.begin(delay_ms=0)
    before_ns = time.time_ns()
    for number in (7, 70_000):
        client.sendmail("a@bench.test", f"u{number}@bench.test", BODY)
    arrivals, counts = sink.arrivals(), sink.counts()
    assert [arrival.number for arrival in arrivals] == [7, 70_000]
    assert before_ns < arrivals[0].at_ns < arrivals[1].at_ns < time.time_ns()
    stuffed = BODY.replace("\r\n..", "\r\n...").encode()
    assert sink.sample() == stuffed
    assert (counts.mails, counts.octets) == (2, 2 * len(stuffed))


def test_it_keeps_the_last_reply_back(sink: Sink, client: smtplib.SMTP) -> None:
    sink.begin(delay_ms=30)
    began_s = time.monotonic()
    client.sendmail("a@bench.test", "u1@bench.test", BODY)
    assert time.monotonic() - began_s >= 0.03
    assert sink.counts().held_us >= 30_000
    sink.begin(delay_ms=0)
    assert sink.counts().mails == 0


def test_it_answers_a_pipelined_group_in_order(sink: Sink) -> None:
    context = ssl.create_default_context(cafile=sink.ca_file)
    with socket.create_connection((HOST, sink.port), timeout=30) as link:
        plain = link.makefile("rb")
        assert plain.readline().startswith(b"220 ")
        link.sendall(b"STARTTLS\r\n")
        assert plain.readline().startswith(b"220 ")
        with context.wrap_socket(link, server_hostname=HOST) as secured:
            replies = secured.makefile("rb")
            secured.sendall(b"HELO x\r\nDATA\r\n")
            assert [replies.readline()[:3] for _ in range(2)] == [b"250", b"503"]
            envelope = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<u1@b.test>\r\nDATA\r\n"
            secured.sendall(envelope)
            assert [replies.readline()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
            secured.sendall(b"x\r\n.\r\n" + envelope + b"y\r\n.\r\nQUIT\r\n")
            codes = [replies.readline()[:3] for _ in range(6)]
            assert codes == [b"250", b"250", b"250", b"354", b"250", b"221"]


def test_the_load_generator_fills_it(sink: Sink) -> None:
    sink.begin(delay_ms=0)
    relay = ["-relay", f"{HOST}:{sink.port}", "-connections", "2", "-seconds", "0.2"]
    assert float(run(go_program("load", print), *relay)) > 0
    assert sink.counts().mails > 2
