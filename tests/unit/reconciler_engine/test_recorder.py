"""Events are written beside the work, and those that tell the same as one."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from mailtopic_operator.domain.actions import Event
from mailtopic_operator.engine.recorder import EventRecorder
from mailtopic_operator.ports import Json

MAILS = {"metadata": {"uid": "1"}}
OTHERS = {"metadata": {"uid": "2"}}


class Written:
    """`Resources` that keeps events, and does nothing else."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    async def emit(self, resource: Mapping[str, Any], event: Event, action: str) -> None:
        del action
        self.events.append((resource["metadata"]["uid"], event.reason, event.message))

    async def patch_status(self, key: tuple[str, str, str], patch: Json) -> Json:
        raise NotImplementedError

    async def patch_finalizers(
        self, key: tuple[str, str, str], finalizers: Sequence[str], *, version: str
    ) -> Json:
        raise NotImplementedError


async def written(*taken: tuple[Mapping[str, Any], Event]) -> list[tuple[str, str, str]]:
    """Return what is written of events that are taken at once."""
    resources = Written()
    recorder = EventRecorder(resources)
    for resource, event in taken:
        recorder.record(resource, event, "Test")
    writing = asyncio.create_task(recorder.write())
    await recorder.flush(5)
    writing.cancel()
    await asyncio.wait({writing})
    return resources.events


async def test_topics_that_are_created_together_are_told_of_together() -> None:
    names = ("mails", "mails.retry.10s", "mails.retry.1m", "mails.dlq", "mails.status")
    events = [Event("Normal", "TopicCreated", "created", name) for name in names]
    found = await written(*((MAILS, event) for event in events))
    text = "mails, mails.retry.10s, mails.retry.1m and 2 more: created"
    assert found == [("1", "TopicCreated", text)]


async def test_different_things_of_one_reason_are_told_in_one_event() -> None:
    texts = ("a: changed x", "b: changed y", "a: changed x", "c", "d", "e")
    found = await written(*((MAILS, Event("Normal", "ConfigChanged", text)) for text in texts))
    assert found == [("1", "ConfigChanged", "a: changed x; b: changed y; c; and 2 more")]


async def test_events_of_other_reasons_and_of_other_resources_stay_apart() -> None:
    created, ready = Event("Normal", "TopicCreated", "x"), Event("Normal", "Ready", "y")
    found = await written((MAILS, created), (MAILS, ready), (OTHERS, created))
    assert len(found) == 3
