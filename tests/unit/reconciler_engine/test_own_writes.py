"""How a fight with another writer slows down, and what admission changes is left as it is."""

import copy
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailtopic_operator.domain.actions import AlterConfig, ApplyChild
from mailtopic_operator.domain.children import wanted_children
from mailtopic_operator.domain.field_sets import in_words
from mailtopic_operator.domain.kafka import ConfigChange
from mailtopic_operator.domain.observed import ChildRef, Observed
from mailtopic_operator.engine.own_writes import OwnWrites
from mailtopic_operator.engine.store import Key
from support.mailtopic_world import World

KEY = Key("MailTopic", "shop", "mails")
START = datetime(2026, 11, 25, 12, tzinfo=UTC)
ALTER = AlterConfig(ConfigChange("mails", {"retention.ms": "1"}))


@pytest.fixture
def manifest() -> dict[str, Any]:
    children = wanted_children(World().desired, Observed(topics={}))
    return dict(next(child for child in children if child["kind"] == "Deployment"))


def written(writes: OwnWrites, *, seconds: int) -> list[int]:
    """Write whenever it is allowed, as beside a writer that undoes it at once."""
    at: list[int] = []
    for second in range(seconds):
        now = START + timedelta(seconds=second)
        until = writes.held(KEY, now).values()
        if all(each <= now for each in until):
            writes.wrote(KEY, ALTER, now)
            at.append(second)
    return at


def test_a_write_that_is_undone_each_time_is_repeated_less_and_less() -> None:
    at = written(OwnWrites(), seconds=3600)
    assert at[:6] == [0, 1, 2, 32, 92, 212]
    assert max(sum(start <= each < start + 600 for each in at) for start in range(3600)) <= 7
    assert max(later - earlier for earlier, later in itertools.pairwise(at)) <= 600


def test_three_writes_in_ten_minutes_are_never_delayed() -> None:
    writes = OwnWrites()
    for minute in range(0, 120, 5):
        now = START + timedelta(minutes=minute)
        assert all(until <= now for until in writes.held(KEY, now).values())
        writes.wrote(KEY, ALTER, now)


def test_another_write_to_the_same_object_is_not_delayed(manifest: dict[str, Any]) -> None:
    writes = OwnWrites()
    for second in range(3):
        writes.wrote(KEY, ApplyChild(manifest, "drift"), START + timedelta(seconds=second))
    other = copy.deepcopy(manifest)
    other["spec"]["replicas"] = 7
    writes.wrote(KEY, ApplyChild(other, "changed"), START)
    assert len(writes.held(KEY, START)) == 1
    assert writes.held(Key("MailTopic", "shop", "other"), START) == {}
    writes.forget(KEY)
    assert writes.held(KEY, START) == {}


def test_what_admission_changed_is_reported_once_until_it_changes_again(
    manifest: dict[str, Any],
) -> None:
    writes = OwnWrites()
    applied = copy.deepcopy(manifest)
    assert writes.returned(KEY, manifest, applied) is None
    assert writes.admitted(KEY) == {}
    container = applied["spec"]["template"]["spec"]["containers"][0]
    container["resources"]["requests"]["cpu"] = "250m"
    path = writes.returned(KEY, manifest, applied)
    assert path is not None
    words = f"spec.template.spec.containers[{container['name']}].resources.requests.cpu"
    assert in_words(path) == words
    assert writes.returned(KEY, manifest, applied) is None
    container["resources"]["requests"]["cpu"] = "500m"
    assert writes.returned(KEY, manifest, applied) is not None
    assert writes.returned(KEY, manifest, copy.deepcopy(manifest)) is None
    assert ChildRef.of(manifest) not in writes.admitted(KEY)
