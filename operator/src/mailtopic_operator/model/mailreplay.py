"""The MailReplay resource: another attempt for dead letters."""

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
    """Which dead letters to replay: those that match all of these."""

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
    """Only letters of these error classes, such as poison, reputation or bug. Empty: all."""

    since: Moment | None = None
    """Only letters that died at this time or later, such as 2026-01-31T12:00:00Z."""

    until: Moment | None = None
    """Only letters that died before this time."""


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
    """The MailTopic with the DLQ to read."""

    filter: ReplayFilter = Field(default_factory=ReplayFilter)
    """Which dead letters to replay. Empty: all. Mails that have expired, were delivered meanwhile
    or are superseded by a newer mail are never replayed.
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
    """The most mails per second that go back to the main topic. Unset: as fast as Kafka takes them;
    the relays' rate limits apply anyway.
    """

    dry_run: bool = False
    """Count what would be replayed, and replay nothing."""


class ReplayProgress(Model):
    """The counts of the last ended run."""

    matched: int = 0
    """Dead letters that matched the filter."""

    replayed: int = 0
    """Mails that went back to the main topic; with dryRun: mails that would have."""

    skipped: int = 0
    """Letters that were not replayed: expired, delivered, superseded, not a mail."""


class MailReplayStatus(Model):
    """The progress and result of the replay."""

    observed_generation: int | None = None
    """The generation of the MailReplay that was observed."""

    start_time: Moment | None = None
    """When the replay started."""

    completion_time: Moment | None = None
    """When it ended, successfully or not."""

    progress: ReplayProgress | None = None
    """The counts; known when the Job's pod has ended."""

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
    """Complete: every letter was processed. Failed: it ended before that. Reconciling and Stalled
    as usual.
    """

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of a type."""
        return next((each for each in self.conditions if each.type == kind), None)


class MailReplay(Model):
    """Replays dead letters of a MailTopic, once.

    Delete it when you have seen the result; only its Job is deleted with it.
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
    """The progress and result of the replay; only the operator writes it."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Parse an object from the API server.

        Raises:
            pydantic.ValidationError: an API server with our CRD would have refused it.
        """
        return cls.model_validate({"spec": body.get("spec"), "status": body.get("status") or {}})
