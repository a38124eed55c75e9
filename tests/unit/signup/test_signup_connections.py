"""Which connection ends where another needs its place."""

import resource

import pytest

from mailtopic_runtime import ManualClock
from mailtopic_signup.connections import Connections


class Held:
    """A connection that can be ended."""

    has_ended = False

    def end_for_room(self) -> None:
        self.has_ended = True


def full(connections: Connections, count: int, client: str = "192.0.2.1") -> list[Held]:
    held = [Held() for _ in range(count)]
    assert all(connections.admit(each, client) for each in held)
    return held


def ended(held: list[Held]) -> list[int]:
    return [place for place, each in enumerate(held) if each.has_ended]


def test_the_longest_waiting_one_ends_and_newcomers_before_those_that_were_served() -> None:
    connections = Connections(4, None, ManualClock().monotonic_s)
    held = full(connections, 4)
    connections.waits_for_client(held[0], was_served=True)
    connections.is_at_work(held[1])
    for expected in ([2], [2, 3], [0, 2, 3]):
        newest = Held()
        assert connections.admit(newest, "192.0.2.1")
        connections.is_at_work(newest)
        assert ended(held) == expected
    assert not connections.admit(Held(), "192.0.2.1")
    assert connections.is_in_the_way(held[1])
    connections.remove(held[1])
    assert connections.admit(Held(), "192.0.2.1")


def test_a_client_beyond_its_own_bound_loses_its_own() -> None:
    connections = Connections(100, 2, ManualClock().monotonic_s)
    theirs, mine = full(connections, 2, "192.0.2.1"), full(connections, 2, "192.0.2.2")
    full(connections, 2, "192.0.2.1")
    assert (ended(theirs), ended(mine)) == ([0, 1], [])


def test_a_client_beyond_its_own_bound_ends_none_of_the_others_where_all_is_full() -> None:
    connections = Connections(4, 2, ManualClock().monotonic_s)
    theirs, mine = full(connections, 2, "192.0.2.1"), full(connections, 2, "192.0.2.2")
    assert connections.admit(Held(), "192.0.2.2")
    assert (ended(theirs), ended(mine)) == ([], [0])
    connections.is_at_work(mine[1])
    connections.admit(newest := Held(), "192.0.2.2")
    connections.is_at_work(newest)
    assert not connections.admit(Held(), "192.0.2.2")
    assert ended(theirs) == []


def test_waiting_again_and_again_makes_nobody_younger() -> None:
    connections = Connections(2, None, ManualClock().monotonic_s)
    held = full(connections, 2)
    connections.waits_for_client(held[0], was_served=False)
    connections.admit(Held(), "192.0.2.1")
    assert ended(held) == [0]


def test_what_was_removed_is_forgotten() -> None:
    connections = Connections(2, 2, ManualClock().monotonic_s)
    for _ in range(10):
        for each in full(connections, 2):
            connections.remove(each)
            connections.remove(each)
            connections.is_at_work(each)
            connections.waits_for_client(each, was_served=True)
            assert not each.has_ended


def test_without_descriptors_left_it_has_fewer_for_a_minute() -> None:
    clock = ManualClock()
    connections = Connections(40, None, clock.monotonic_s)
    held = full(connections, 40)
    for _ in range(16):  # asyncio reports one such moment as often as it tried to accept
        connections.give_way(16)
    assert ended(held) == list(range(16))
    full(connections, 4)
    assert ended(held) == list(range(20))
    clock.advance(61)
    full(connections, 16)
    assert ended(held) == list(range(20))


def test_its_bound_stays_below_the_limit_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    held = full(Connections(1000, None, ManualClock().monotonic_s), 20)
    assert len(ended(held)) == 4
