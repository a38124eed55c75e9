"""The MailTopic resource."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, Field

from mailtopic_operator.model.base import API_VERSION, Model, checked, rule
from mailtopic_operator.model.mailtopic_spec import MailTopicSpec
from mailtopic_operator.model.mailtopic_status import MailTopicStatus

FINALIZER = "mailtopic.dev/topics"
"""Keeps a MailTopic until its topics (only with deletionPolicy: Delete) and users are deleted."""

MANAGED = "mailtopic.dev/managed"
"""Annotation; "false": the operator observes and reports, but changes nothing."""

KAFKA_USER = "mailtopic.dev/kafka-user"
"""Annotation; another value makes another user in Kafka, with another password, for the senders;
the former one is removed when they have rolled."""

DRY_RUN = "mailtopic.dev/dry-run"
"""Annotation; "true": the planned actions are written into status.plan, but not carried out."""

MAX_NAME_LENGTH = 52
"""Of a MailTopic: labels and names derived from it have at most 63 characters."""


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
    """The desired state of the stream of mails."""

    status: MailTopicStatus = Field(default_factory=MailTopicStatus)
    """The observed state; only the operator writes it."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Parse an object from the API server.

        Raises:
            pydantic.ValidationError: an API server with our CRD would have refused it.
        """
        return cls.model_validate({"spec": body.get("spec"), "status": body.get("status") or {}})
