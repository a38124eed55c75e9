"""Recording rules and alerts as code: `groups()` returns all, `files()` the written files."""

from mailtopic_observability.rules.files import GENERATOR, files, groups
from mailtopic_observability.rules.model import Alert, Group, Recording, Severity
from mailtopic_observability.rules.parameters import DEFAULTS, Parameters
from mailtopic_observability.rules.scale import scaled

__all__ = [
    "DEFAULTS",
    "GENERATOR",
    "Alert",
    "Group",
    "Parameters",
    "Recording",
    "Severity",
    "files",
    "groups",
    "scaled",
]
