"""One round: a peer, a topic that is full, a sink; and what came of it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path

from benchmarks.side_by_side.peer_programs import Errand, Peer
from benchmarks.side_by_side.process_usage import cpu_ns, peak_rss_mb
from benchmarks.side_by_side.records import CODE, RecordMaker
from benchmarks.side_by_side.relay_sink import Arrival, Sink
from benchmarks.side_by_side.topics import PARTITIONS, Topics
from mailtopic_cli.children import Child

POLL_S = 0.02
STILL_S = 60
"""A peer that sends nothing for so long has failed."""
GRACE_S = 30
FIRST, LAST = 0.1, 0.9
"""What is between these shares of the mails is measured: no start, no end."""


class RoundFailed(Exception):  # noqa: N818 - it says what is the matter
    """A peer didn't do what it was to do; the text ends with what it wrote."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: a peer against a relay that takes so long."""

    peer: str
    delay_ms: int
    connections: int = 32


@dataclass(frozen=True, slots=True)
class Round:
    """What was measured.

    Attributes:
        mails_per_s: by the sink's times of the middle of the mails.
        cpu_us: the peer's processor time for a mail in the same part, microseconds.
        duplicates: mails that came twice.
        opened: connections that it made.
        octets: of a mail.
        held_ms: for how long the sink kept the last reply back, on average.
    """

    mails: int
    mails_per_s: float
    cpu_us: float
    peak_rss_mb: float
    duplicates: int
    opened: int
    octets: float
    held_ms: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment."""

    mails: int
    cpu_ns: int


@dataclass
class Workshop:
    """What all rounds share: the broker's topics, the sink, the runtimes of peers."""

    topics: Topics
    sink: Sink
    runtimes: dict[str, Path]
    directory: Path
    maker: RecordMaker
    settings: dict[str, str] = field(default_factory=dict)

    def start(self, peer: Peer, topic: str, *, connections: int, name: str) -> Child:
        """Start a peer on a topic."""
        errand = Errand(
            servers=self.topics.servers,
            topic=topic,
            group=topic,
            port=self.sink.port,
            ca_file=self.sink.ca_file,
            keys_file=self.directory / "keys.json",
            connections=connections,
            settings=self.settings,
        )
        return Child(
            peer.command(self.runtimes),
            log_file=self.log_file(name),
            env=peer.environment(errand),
            cwd=self.directory,
        )

    def log_file(self, name: str) -> Path:
        """Return where a peer's output goes."""
        return self.directory / f"{name}.log"

    def end(self, process: Child) -> None:
        """Stop a peer as an orchestrator would."""
        asyncio.run(process.end(grace_s=GRACE_S))


Watch = Callable[[int, int], object]
"""Is told a peer's process id and how many mails came, again and again."""


def run_round(
    workshop: Workshop,
    peer: Peer,
    *,
    delay_ms: float,
    mails: int,
    connections: int,
    partitions: int = PARTITIONS,
    senders: int = 1,
    watch: Watch = lambda _pid, _mails: None,
) -> Round:
    """Let a peer, as one process or several, send the mails of a full topic.

    Raises:
        RoundFailed: it ended, or stood still.
    """
    topics, sink = workshop.topics, workshop.sink
    topic = topics.make(partitions=partitions)
    topics.fill(topic, workshop.maker.records(peer.form, mails))
    sink.begin(delay_ms=delay_ms)
    names = [f"{topic}-{peer.name}-{number}" for number in range(senders)]
    processes = [workshop.start(peer, topic, connections=connections, name=n) for n in names]
    try:
        samples = _watched(
            processes, sink, mails=mails, watch=watch, log=workshop.log_file(names[0])
        )
        peak_mb = max(peak_rss_mb(process.pid) for process in processes)
    finally:
        for process in processes:
            workshop.end(process)
    found = _found(sink, samples, mails, peak_mb)
    topics.drop(topic)
    return found


def _watched(
    processes: list[Child], sink: Sink, *, mails: int, watch: Watch, log: Path
) -> list[Sample]:
    samples: list[Sample] = []
    moved_s = time.monotonic()
    while not samples or samples[-1].mails < mails:
        time.sleep(POLL_S)
        sample = Sample(sink.counts().mails, sum(cpu_ns(each.pid) for each in processes))
        watch(processes[0].pid, sample.mails)
        if not samples or sample.mails > samples[-1].mails:
            moved_s = time.monotonic()
        samples.append(sample)
        has_ended = any(each.exit_code is not None for each in processes)
        if has_ended or time.monotonic() > moved_s + STILL_S:
            wrote = log.read_text(errors="replace")[-2000:]
            raise RoundFailed(f"{sample.mails} of {mails} mails were sent: {wrote}")
    return samples


def _found(sink: Sink, samples: list[Sample], mails: int, peak_mb: float) -> Round:
    if not is_the_mail(sink.sample()):
        raise RoundFailed("what came is not the mail: its text lacks the code")
    arrivals, counts = sink.arrivals(), sink.counts()
    different = len({arrival.number for arrival in arrivals})
    if different < mails:
        raise RoundFailed(f"{mails - different} of {mails} mails never came")
    return Round(
        mails=mails,
        mails_per_s=rate_of(arrivals),
        cpu_us=cpu_of(samples, mails),
        peak_rss_mb=peak_mb,
        duplicates=len(arrivals) - different,
        opened=counts.connections,
        octets=counts.octets / counts.mails,
        held_ms=counts.held_us / counts.mails / 1000,
    )


def is_the_mail(octets: bytes) -> bool:
    """Whether both parts of a mail show the code: nobody gains by sending less."""
    message = message_from_bytes(octets, policy=policy.default)
    bodies = [message.get_body((kind,)) for kind in ("plain", "html")]
    return all(body is not None and CODE in body.get_content() for body in bodies)


def rate_of(arrivals: list[Arrival]) -> float:
    """Return mails a second in the middle of the arrivals."""
    first, last = round(FIRST * len(arrivals)), round(LAST * len(arrivals)) - 1
    took_ns = arrivals[last].at_ns - arrivals[first].at_ns
    return (last - first) * 1e9 / took_ns


def cpu_of(samples: list[Sample], mails: int) -> float:
    """Return microseconds of processor time for a mail, in the middle as well."""
    middle = [each for each in samples if FIRST * mails <= each.mails <= LAST * mails]
    if len(middle) < 2 or middle[-1].mails == middle[0].mails:
        raise RoundFailed(f"{mails} mails are too few to measure: they are sent within {POLL_S} s")
    took_ns = middle[-1].cpu_ns - middle[0].cpu_ns
    return took_ns / 1000 / (middle[-1].mails - middle[0].mails)
