"""Conditions, as in the Kubernetes API conventions."""

from typing import Annotated, Literal

from pydantic import Field

from mailtopic_operator.model.base import Model

Status = Literal["True", "False", "Unknown"]


class Condition(Model):
    """What was observed about one aspect of a resource."""

    type: Annotated[str, Field(max_length=63, pattern="^[A-Z][A-Za-z]*$")]
    """The aspect, such as Ready."""

    status: Status
    """True, False or Unknown."""

    reason: Annotated[str, Field(max_length=63, pattern="^[A-Z][A-Za-z]*$")]
    """The reason, in one word for programs."""

    message: Annotated[str, Field(max_length=2048)] = ""
    """The reason, in words for people, and what to do about it."""

    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the status last changed."""

    observed_generation: int
    """The generation of the resource that was observed."""
