"""The common base of all custom resource types."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "mailtopic.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

_DURATION = re.compile(r"([1-9][0-9]{0,5})(s|m|h)")
_RATE = re.compile(r"([1-9][0-9]{0,6})/(s|m|h)")
_UNIT_S = {"s": 1, "m": 60, "h": 3_600}

DURATION = "^[1-9][0-9]{0,5}(s|m|h)$"
RATE = "^[1-9][0-9]{0,6}/(s|m|h)$"


class Model(BaseModel):
    """A part of a resource: frozen, camelCase in YAML; fields of later versions are ignored.

    Rules that need CEL are in ``x-kubernetes-validations`` of ``json_schema_extra``.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    def to_object(self) -> dict[str, Any]:
        """Return the part as in YAML, without unset fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rule(expression: str, message: str) -> dict[str, str]:
    """Return a CEL rule: what must be true, and what to write instead if it isn't."""
    return {"rule": expression, "message": message}


def checked(*rules: dict[str, str]) -> Any:
    """Return the ``json_schema_extra`` with these CEL rules."""
    return {"x-kubernetes-validations": list(rules)}


Duration = Annotated[
    str,
    Field(
        pattern=DURATION,
        max_length=32,
        json_schema_extra=checked(
            rule(
                f"self.matches('{DURATION}')",
                "write a duration as a whole number and s, m or h, such as 90s, 10m or 168h",
            )
        ),
    ),
]
"""A whole number of seconds, minutes or hours, such as ``10m``."""


def duration_s(text: str) -> int:
    """Return the seconds of a Duration.

    Raises:
        ValueError: the text has another format.
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError("a duration is a whole number and s, m or h")
    return int(match[1]) * _UNIT_S[match[2]]


def rate_per_s(text: str) -> float:
    """Return the mails per second of a rate such as ``14/s`` or ``600/m``.

    Raises:
        ValueError: the text has another format.
    """
    match = _RATE.fullmatch(text)
    if not match:
        raise ValueError("a rate is a whole number, a slash and s, m or h")
    return int(match[1]) / _UNIT_S[match[2]]
