"""What a MailReplay asks for, and what there is of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mailtopic_operator.domain.desired import Desired, Meta
from mailtopic_operator.domain.observed import ChildRef, Failure
from mailtopic_operator.model.mailreplay import MailReplay, MailReplaySpec, MailReplayStatus


@dataclass(frozen=True, slots=True)
class DesiredReplay:
    """What a MailReplay asks for.

    Attributes:
        topic: the MailTopic that it names; None if there is none, or it can't be understood.
        status: what was last reported.
    """

    meta: Meta
    spec: MailReplaySpec
    status: MailReplayStatus
    topic: Desired | None

    @classmethod
    def parse(cls, body: Mapping[str, Any], topic: Desired | None) -> Self:
        """Return what a MailReplay, as the API server has it, asks for.

        Raises:
            pydantic.ValidationError: an API server with our CRD would not have taken it.
        """
        resource = MailReplay.parse(body)
        return cls(Meta.parse(body), resource.spec, resource.status, topic)

    @property
    def job(self) -> ChildRef:
        """The Job that runs it."""
        return ChildRef("batch/v1", "Job", f"{self.meta.name}-replay")


@dataclass(frozen=True, slots=True)
class ObservedReplay:
    """What there is of a MailReplay.

    Attributes:
        job: `DesiredReplay.job` as it is; None if it doesn't exist.
        report: the termination message of the Job's pod that ended last; None if none has ended.
        failures: what the last attempts said; see Failure.
    """

    job: Mapping[str, Any] | None = None
    report: str | None = None
    failures: tuple[Failure, ...] = ()
