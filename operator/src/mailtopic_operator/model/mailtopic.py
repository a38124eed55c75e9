"""The MailTopic resource."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, Field

from mailtopic_operator.model.base import API_VERSION, Model, checked, rule
from mailtopic_operator.model.mailtopic_spec import MailTopicSpec
from mailtopic_operator.model.mailtopic_status import MailTopicStatus

FINALIZER = "mailtopic.dev/topics"
"""Keeps a MailTopic until its topics are deleted; only with deletionPolicy: Delete."""

MANAGED = "mailtopic.dev/managed"
"""Annotation; "false": the operator looks and reports, and changes nothing."""

DRY_RUN = "mailtopic.dev/dry-run"
"""Annotation; "true": what would be done is written into status.plan, and not done."""

MAX_NAME_LENGTH = 52
"""Of a MailTopic: labels and the names made from it have at most 63 characters."""


class MailTopic(Model):
    """A stream of mails: services publish mails to a Kafka topic, senders deliver them by SMTP."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            rule(
                f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
                f"write a name of at most {MAX_NAME_LENGTH} characters; a longer name of the"
                " Kafka topic goes into spec.topic.name",
            ),
            rule(
                "has(self.spec.topic.name) || "
                "!self.metadata.name.matches('([.]retry[.][1-9][0-9]*[smh]|[.]dlq|[.]status)$')",
                "write the main topic's name: its retry topics, .dlq and .status are made from it",
            ),
        )
    )

    kind: ClassVar[str] = "MailTopic"
    api_version: ClassVar[str] = API_VERSION
    plural: ClassVar[str] = "mailtopics"

    spec: MailTopicSpec
    """What the stream of mails is to be like."""

    status: MailTopicStatus = Field(default_factory=MailTopicStatus)
    """What the operator found; written by it alone."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Return the resource of an object as the API server has it.

        Raises:
            pydantic.ValidationError: an API server with our CRD would not have taken it.
        """
        return cls.model_validate({"spec": body.get("spec"), "status": body.get("status") or {}})
