"""The desired and the observed state of a MailReplay."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from mailtopic_operator.domain.desired import Desired, Meta
from mailtopic_operator.domain.observed import ChildRef, Failure
from mailtopic_operator.model.mailreplay import MailReplay, MailReplaySpec, MailReplayStatus


@dataclass(frozen=True, slots=True)
class DesiredReplay:
    """What a MailReplay asks for.

    Attributes:
        topic: the MailTopic that it names; None if that doesn't exist or can't be parsed.
        status: what was last reported.
    """

    meta: Meta
    spec: MailReplaySpec
    status: MailReplayStatus
    topic: Desired | None

    @classmethod
    def parse(cls, body: Mapping[str, Any], topic: Desired | None) -> Self:
        """Return what a MailReplay from the API server asks for.

        Raises:
            pydantic.ValidationError: an API server with our CRD would have refused it.
        """
        resource = MailReplay.parse(body)
        return cls(Meta.parse(body), resource.spec, resource.status, topic)

    @property
    def job(self) -> ChildRef:
        """The Job that runs it."""
        return ChildRef("batch/v1", "Job", f"{self.meta.name}-replay")


@dataclass(frozen=True, slots=True)
class ObservedReplay:
    """The observed state of a MailReplay.

    Attributes:
        job: the live object of `DesiredReplay.job`; None if it doesn't exist.
        is_name_taken: another object has the Job's name: usually the Job of a MailReplay with the
            same name that was just deleted.
        ahead: an older MailReplay of the same MailTopic that hasn't ended yet; None if there is
            none, or it doesn't matter. Two at once would take over from each other.
        report: the termination message of the Job's last ended pod; None if none has ended.
        failures: of the last attempts; see Failure.
    """

    job: Mapping[str, Any] | None = None
    is_name_taken: bool = False
    ahead: str | None = None
    report: str | None = None
    failures: tuple[Failure, ...] = ()


def newest_report(pods: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the termination message of the container that ended last; None if none has ended."""
    ended = [
        (terminated.get("finishedAt") or "", terminated.get("message") or "")
        for pod in pods
        for container in (pod.get("status") or {}).get("containerStatuses") or ()
        if (terminated := (container.get("state") or {}).get("terminated"))
    ]
    return max(ended)[1] if ended else None
