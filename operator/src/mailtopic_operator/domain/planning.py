"""plan(desired, observed, now): everything that the operator decides about a MailTopic."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mailtopic_operator.domain.actions import Plan
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.observed import Observed


def plan(desired: Desired, observed: Observed, now: datetime) -> Plan:
    """Return what to do about a MailTopic. Pure: the same arguments give the same plan."""
    raise NotImplementedError


def plan_invalid(body: Mapping[str, Any], problem: str, now: datetime) -> Plan:
    """Return what to do about a MailTopic that can't be understood: nothing but to say so."""
    raise NotImplementedError
