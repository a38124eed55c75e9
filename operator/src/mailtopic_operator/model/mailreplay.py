"""The MailReplay resource: dead letters get another attempt."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field

from mailtopic_operator.model.base import API_VERSION, Model, checked, rule
from mailtopic_operator.model.conditions import Condition
from mailtopic_operator.model.mailtopic import MAX_NAME_LENGTH
from mailtopic_operator.model.mailtopic_status import Moment
from mailtopic_operator.model.references import ObjectName


class MailTopicRef(Model):
    """A MailTopic."""

    name: ObjectName
    """The name of the MailTopic, in the namespace of the MailReplay."""


class ReplayFilter(Model):
    """Which dead letters are meant: those that fit all of this."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            rule(
                "!has(self.since) || !has(self.until) || self.since < self.until",
                "write a time in filter.until that is after filter.since",
            ),
        )
    )

    classes: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=63)], ...],
        Field(
            max_length=16,
            json_schema_extra=checked(
                rule(
                    "self.all(each, each.matches('^[a-z][a-z_]*$'))",
                    "write error classes as `mailtopic dlq list` shows them, such as reputation",
                )
            ),
        ),
    ] = ()
    """Only letters of these error classes, such as poison, reputation or bug. Empty: of all."""

    since: Moment | None = None
    """Only what died at this time or later, such as 2026-01-31T12:00:00Z."""

    until: Moment | None = None
    """Only what died before this time."""


class MailReplaySpec(Model):
    """Which dead letters get another attempt, and how fast."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            rule(
                "self == oldSelf",
                "a replay runs once and can't be changed: make another MailReplay",
            ),
        )
    )

    mail_topic_ref: MailTopicRef
    """The MailTopic whose DLQ is read."""

    filter: ReplayFilter = Field(default_factory=ReplayFilter)
    """Which dead letters are meant. Empty: all. What has expired, was delivered meanwhile or is
    superseded by a newer mail is never replayed.
    """

    rate_per_second: Annotated[
        int | None,
        Field(
            ge=1,
            le=10_000,
            json_schema_extra=checked(
                rule(
                    "self >= 1 && self <= 10000",
                    "write 1 to 10000 mails a second, or leave ratePerSecond out for no limit",
                )
            ),
        ),
    ] = None
    """Mails a second that go back to the main topic at most. Unset: as fast as Kafka takes them;
    the relays' rate limits hold anyway.
    """

    dry_run: bool = False
    """Count what would be replayed, and replay nothing."""


class ReplayProgress(Model):
    """What the run that ended last has counted."""

    matched: int = 0
    """Dead letters that fit the filter."""

    replayed: int = 0
    """Mails that went back to the main topic; with dryRun: that would have."""

    skipped: int = 0
    """Letters that were not replayed: expired, delivered, superseded, no mail."""


class MailReplayStatus(Model):
    """How the replay went."""

    observed_generation: int | None = None
    """The generation of the MailReplay that this is about."""

    start_time: Moment | None = None
    """When the replay began."""

    completion_time: Moment | None = None
    """When it ended, one way or the other."""

    progress: ReplayProgress | None = None
    """What has been counted; known when the Job's pod has ended."""

    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=8,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        ),
    ] = ()
    """Complete: every letter has been dealt with. Failed: it ended before that; Reconciling and
    Stalled as usual.
    """

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of a type."""
        return next((each for each in self.conditions if each.type == kind), None)


class MailReplay(Model):
    """Gives dead letters of a MailTopic another attempt, once.

    Delete it when you have seen how it went; nothing but its Job is deleted with it.
    """

    model_config = ConfigDict(
        json_schema_extra=checked(
            rule(
                f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
                f"write a name of at most {MAX_NAME_LENGTH} characters: the Job is named after it",
            ),
        )
    )

    kind: ClassVar[str] = "MailReplay"
    api_version: ClassVar[str] = API_VERSION
    plural: ClassVar[str] = "mailreplays"

    spec: MailReplaySpec
    """Which dead letters get another attempt, and how fast."""

    status: MailReplayStatus = Field(default_factory=MailReplayStatus)
    """How the replay went; written by the operator alone."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Return the resource of an object as the API server has it.

        Raises:
            pydantic.ValidationError: an API server with our CRD would not have taken it.
        """
        return cls.model_validate({"spec": body.get("spec"), "status": body.get("status") or {}})
