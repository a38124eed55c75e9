"""Conditions, as the Kubernetes API conventions have them."""

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
    """Why, in one word for programs."""

    message: Annotated[str, Field(max_length=2048)] = ""
    """Why, in words for people; what to do about it."""

    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the status changed last."""

    observed_generation: int
    """The generation of the resource that this was found out for."""
