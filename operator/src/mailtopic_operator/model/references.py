"""References to objects in the same namespace."""

from typing import Annotated

from pydantic import Field

from mailtopic_operator.model.base import Model, checked, rule

ObjectName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        json_schema_extra=checked(
            rule(
                r"self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",
                "write the object's name only: lower-case letters, digits, dots and dashes",
            )
        ),
    ),
]
DataKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        json_schema_extra=checked(
            rule(
                r"self.matches('^[A-Za-z0-9._-]+$')",
                "write a key of the object's data: letters, digits, dots, dashes and underscores",
            )
        ),
    ),
]


class CredentialsRef(Model):
    """A Secret with the login of a relay."""

    name: ObjectName
    """The Secret's name, in the namespace of the MailTopic."""

    username_key: DataKey = "username"
    """The key under which the Secret holds the username."""

    password_key: DataKey = "password"  # noqa: S105 (a key's name)
    """The key under which the Secret holds the password. A change rolls the senders."""


class CaRef(Model):
    """A Secret with CA certificates."""

    name: ObjectName
    """The Secret's name, in the namespace of the MailTopic."""

    key: DataKey = "ca.crt"
    """The key under which the Secret holds the certificates, PEM."""


class SecretKeyRef(Model):
    """A key of a Secret."""

    name: ObjectName
    """The Secret's name, in the namespace of the MailTopic."""

    key: DataKey
    """The key in the Secret. A change rolls the senders."""


class KeysRef(Model):
    """A Secret with sealing keys."""

    name: ObjectName
    """The Secret's name, in the namespace of the MailTopic."""

    key: DataKey = "keys.json"
    """The key under which the Secret holds the key file. A change rolls the senders."""


class ConfigMapRef(Model):
    """A ConfigMap with templates."""

    name: ObjectName
    """The ConfigMap's name, in the namespace of the MailTopic."""
