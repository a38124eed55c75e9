"""How long a mail takes from being accepted to the relay's 250, at a steady half of the maximum."""

import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import quantiles

from benchmarks.side_by_side.measuring import STILL_S, RoundFailed, Workshop
from benchmarks.side_by_side.peer_programs import Peer
from benchmarks.side_by_side.records import Record

_TICK_S = 0.001
_FIRST_PER_S = 50
_FIRST_MAILS = 20
_WARM_S = 2.0


@dataclass(frozen=True, slots=True)
class Latency:
    """What a steady load found.

    Attributes:
        p50_ms, p99_ms: from just before the record is given to the producer to the sink's reply.
        kept_up: whether all mails were out at once when the load ended, so that no queue grew.
    """

    rate_per_s: float
    mails: int
    p50_ms: float
    p99_ms: float
    kept_up: bool


def run_steady(
    workshop: Workshop, peer: Peer, *, rate_per_s: float, seconds: float, connections: int = 32
) -> Latency:
    """Give a peer mails at an even rate and see when each is at the sink.

    The first two seconds are not counted, nor what came before: the peer joins its group and opens
    its connections then.

    Raises:
        RoundFailed: mails never came.
    """
    topics, sink = workshop.topics, workshop.sink
    warm = round(rate_per_s * _WARM_S)
    total = warm + round(rate_per_s * seconds)
    records = workshop.maker.records(peer.form, total + STILL_S * _FIRST_PER_S)
    topic = topics.make()
    sink.begin(delay_ms=0)
    process = workshop.start(peer, topic, connections=connections, name=f"{topic}-{peer.name}")
    accepted_ns = array("q")
    try:
        while sink.counts().mails < _FIRST_MAILS:
            if len(accepted_ns) == STILL_S * _FIRST_PER_S:
                raise RoundFailed(f"{peer.name} sends nothing")
            _produce(workshop, topic, records[len(accepted_ns)], accepted_ns)
            time.sleep(1 / _FIRST_PER_S)
        early = len(accepted_ns)
        for record in _paced(records[early : early + total], rate_per_s):
            _produce(workshop, topic, record, accepted_ns)
        ended_s = time.monotonic()
        topics.flush()
        _wait_for(workshop, len(accepted_ns), peer)
        lag_s = time.monotonic() - ended_s
    finally:
        workshop.end(process)
    arrived_ns = {arrival.number: arrival.at_ns for arrival in reversed(sink.arrivals())}
    topics.drop(topic)
    counted = range(early + warm, early + total)
    found_ms = [(arrived_ns[number] - accepted_ns[number]) / 1e6 for number in counted]
    cuts = quantiles(found_ms, n=100)
    return Latency(rate_per_s, len(found_ms), cuts[49], cuts[98], kept_up=lag_s < 1)


def _produce(workshop: Workshop, topic: str, record: Record, accepted_ns: "array[int]") -> None:
    now_ns = time.time_ns()
    accepted_ns.append(now_ns)
    workshop.topics.send(topic, record, record.accepted_at(now_ns // 1_000_000))
    workshop.topics.producer.poll(0)


def _paced(records: list[Record], rate_per_s: float) -> Iterator[Record]:
    began_s, given = time.monotonic(), 0
    while given < len(records):
        due = min(int((time.monotonic() - began_s) * rate_per_s) + 1, len(records))
        yield from records[given:due]
        given = due
        time.sleep(_TICK_S)


def _wait_for(workshop: Workshop, mails: int, peer: Peer) -> None:
    moved_s, seen = time.monotonic(), 0
    while seen < mails:
        time.sleep(0.02)
        now = workshop.sink.counts().mails
        if now > seen:
            moved_s, seen = time.monotonic(), now
        if time.monotonic() > moved_s + STILL_S:
            raise RoundFailed(f"{peer.name} sent {seen} of {mails} mails")
