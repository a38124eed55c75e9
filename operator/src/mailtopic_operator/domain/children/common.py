"""What all children have in common: names, labels, the owner."""

from collections.abc import Mapping
from typing import Any, Final

from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.model.base import API_VERSION
from mailtopic_operator.model.mailtopic import MailTopic

MANAGER: Final = "mailtopic-operator"
"""The field manager of server-side apply, and the value of the managed-by label."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
OWNER_LABEL: Final = "mailtopic.dev/mailtopic"
"""Its value is the MailTopic's name."""

NAME_LABEL: Final = "app.kubernetes.io/name"
SENDER_NAME: Final = "mailtopic-sender"

KAFKA_CLIENT: Final = "mailtopic.dev/kafka-client"
SMTP_CLIENT: Final = "mailtopic.dev/smtp-client"

Manifest = Mapping[str, Any]


def child_name(desired: Desired) -> str:
    """Return the name of all children; they differ by kind."""
    return f"{desired.meta.name}-sender"


def selector(desired: Desired) -> dict[str, str]:
    """Return the labels that select the senders' pods; a Deployment can't change them."""
    return {
        NAME_LABEL: SENDER_NAME,
        "app.kubernetes.io/instance": desired.meta.name,
    }


def labels(desired: Desired) -> dict[str, str]:
    """Return the labels of every child."""
    return {
        **selector(desired),
        "app.kubernetes.io/component": "sender",
        "app.kubernetes.io/part-of": "mailtopic",
        MANAGED_BY: MANAGER,
        OWNER_LABEL: desired.meta.name,
    }


def child(api_version: str, kind: str, desired: Desired, **rest: Any) -> dict[str, Any]:
    """Return a child with the common metadata; it is deleted with its MailTopic."""
    owner = {
        "apiVersion": API_VERSION,
        "kind": MailTopic.kind,
        "name": desired.meta.name,
        "uid": desired.meta.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": child_name(desired),
        "namespace": desired.meta.namespace,
        "labels": labels(desired),
        "ownerReferences": [owner],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
