"""The watermark: what may be committed, proved over random histories."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mailtopic_sender.engine.watermark import (
    MAX_METADATA_BYTES,
    WINDOW,
    MetadataError,
    OffsetTracker,
    Snapshot,
    decode_snapshot,
    encode_snapshot,
)
from mailtopic_sender.ports import Committed


class TrackerMachine(RuleBasedStateMachine):
    """Receives with gaps, completes in any order, restarts from what was committed."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = OffsetTracker()
        self.log: list[int] = []
        self.position = 0
        self.incomplete: set[int] = set()
        self.completed: set[int] = set()
        self.committed = Committed(0, "")
        self.has_commit = False

    @rule(gaps=st.lists(st.integers(0, 40), min_size=1, max_size=20))
    def write(self, gaps: list[int]) -> None:
        for gap in gaps:
            self.log.append((self.log[-1] + 1 if self.log else 0) + gap)

    @precondition(lambda self: self.position < len(self.log))
    @rule(count=st.integers(1, 10))
    def receive(self, count: int) -> None:
        for offset in self.log[self.position : self.position + count]:
            self.position += 1
            if self.tracker.receive(offset, ledger_position=offset):
                self.incomplete.add(offset)
                assert offset not in self.completed or offset >= self.committed.offset
            else:
                assert offset in self.completed

    @precondition(lambda self: bool(self.incomplete))
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.incomplete)))
        self.tracker.complete(offset)
        self.incomplete.discard(offset)
        self.completed.add(offset)

    @rule()
    def commit(self) -> None:
        snapshot = self.tracker.snapshot(10_000_000)
        if snapshot is None:
            return
        encoded = encode_snapshot(snapshot)
        assert len(encoded.metadata.encode()) <= MAX_METADATA_BYTES
        assert decode_snapshot(encoded) == snapshot
        assert encoded.offset >= self.committed.offset
        assert snapshot.ledger_position <= min(self.incomplete, default=10_000_000)
        self.committed, self.has_commit = encoded, True

    @rule()
    def restart(self) -> None:
        if self.has_commit:
            self.tracker = OffsetTracker(decode_snapshot(self.committed))
            self.position = sum(1 for offset in self.log if offset < self.committed.offset)
        else:
            self.tracker = OffsetTracker()
            self.position = 0
        self.incomplete.clear()

    @invariant()
    def nothing_incomplete_is_below_the_watermark(self) -> None:
        watermark = self.tracker.watermark
        if watermark is not None:
            assert all(offset >= watermark for offset in self.incomplete)
            unread = self.log[self.position :]
            assert all(offset >= watermark for offset in unread)

    @invariant()
    def the_watermark_waits_for_nothing_but_incomplete_records(self) -> None:
        received = self.log[: self.position]
        if received and not self.incomplete and self.tracker.watermark is not None:
            assert self.tracker.window == 0


TestTracker = TrackerMachine.TestCase


@given(
    offset=st.integers(0, 2**62),
    distances=st.frozensets(st.integers(1, WINDOW - 1), max_size=200),
    position=st.integers(0, 2**62),
)
def test_what_is_encoded_is_decoded(offset: int, distances: frozenset[int], position: int) -> None:
    snapshot = Snapshot(offset, frozenset(offset + d for d in distances), position)
    encoded = encode_snapshot(snapshot)
    assert decode_snapshot(encoded) == snapshot
    assert len(encoded.metadata.encode()) <= MAX_METADATA_BYTES


def test_a_full_window_fits_into_the_metadata() -> None:
    snapshot = Snapshot(2**62, frozenset(range(2**62 + 1, 2**62 + WINDOW)), 2**62)
    encoded = encode_snapshot(snapshot)
    assert len(encoded.metadata) <= MAX_METADATA_BYTES
    assert decode_snapshot(encoded) == snapshot


def test_what_lies_beyond_the_window_is_left_out_and_comes_again() -> None:
    encoded = encode_snapshot(Snapshot(0, frozenset({1, WINDOW + 5}), 0))
    assert decode_snapshot(encoded).completed == {1}


@pytest.mark.parametrize("metadata", ["v2||0", "v1|", "v1|*|0", "v1||x", "v1||-1", "rubbish"])
def test_foreign_metadata_is_refused_and_not_misread(metadata: str) -> None:
    with pytest.raises(MetadataError):
        decode_snapshot(Committed(7, metadata))


@given(st.text(max_size=300))
def test_no_metadata_raises_anything_else(metadata: str) -> None:
    try:
        snapshot = decode_snapshot(Committed(7, metadata))
    except MetadataError:
        return
    assert snapshot.offset == 7


def test_a_commit_without_metadata_is_somebody_elses() -> None:
    assert decode_snapshot(Committed(7, "")) == Snapshot(7, frozenset(), 0)


def test_restored_offsets_are_not_handled_again_even_across_a_gap() -> None:
    tracker = OffsetTracker(Snapshot(10, frozenset({12, 14}), 3))
    assert tracker.receive(11)
    assert not tracker.receive(12)
    assert tracker.receive(13)
    assert not tracker.receive(14)
    tracker.complete(11)
    assert tracker.watermark == 13
    tracker.complete(13)
    assert tracker.watermark == 15


def test_restored_offsets_survive_a_commit_that_comes_before_they_are_read() -> None:
    tracker = OffsetTracker(Snapshot(10, frozenset({12, 14}), 3))
    tracker.receive(10)
    tracker.complete(10)
    assert tracker.snapshot(9) == Snapshot(11, frozenset({12, 14}), 9)


def test_an_offset_from_before_is_noticed() -> None:
    tracker = OffsetTracker(Snapshot(10, frozenset(), 0))
    assert tracker.precedes(9)
    with pytest.raises(ValueError, match="grow"):
        tracker.receive(9)
