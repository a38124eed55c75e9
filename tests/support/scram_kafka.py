"""A broker with SCRAM and ACLs, and what its administrator sees and does."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from mailtopic_cli.kafka_node import KafkaNode
from support.ports import free_ports

OPERATOR, PASSWORD = "operator", "not-a-secret"
Rule = tuple[str, str, str, str]
"""Resource, pattern, name, operation; by Kafka's names."""

OPERATOR_RULES: tuple[Rule, ...] = (
    *(
        ("TOPIC", "PREFIXED", "mail", operation)
        for operation in (
            *("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER", "ALTER_CONFIGS", "DELETE"),
        )
    ),
    ("GROUP", "PREFIXED", "mail", "DESCRIBE"),
    ("BROKER", "LITERAL", "kafka-cluster", "DESCRIBE"),
    ("BROKER", "LITERAL", "kafka-cluster", "DESCRIBE_CONFIGS"),
    ("BROKER", "LITERAL", "kafka-cluster", "ALTER"),
)
"""What charts/kafka lets the operator's user do, for topics that begin with ``mail``."""


class ScramNode(KafkaNode):
    """Its administrator needs no login; all others log in by SCRAM-SHA-512, and ACLs hold.

    Args:
        directory: its data.
        authorizer: whether the brokers check ACLs at all.
    """

    def __init__(self, directory: Path, *, authorizer: bool = True) -> None:
        port, controller, self.sasl_port = free_ports(3)
        checked = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        listening = [f"PLAINTEXT://127.0.0.1:{port}", f"SASL://127.0.0.1:{self.sasl_port}"]
        super().__init__(
            directory,
            port=port,
            controller_port=controller,
            properties={
                "listeners": ",".join([*listening, f"CONTROLLER://127.0.0.1:{controller}"]),
                "advertised.listeners": ",".join(listening),
                "listener.security.protocol.map": (
                    "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"
                ),
                "inter.broker.listener.name": "PLAINTEXT",
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.sasl.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
                **(checked if authorizer else {}),
            },
        )

    @property
    def sasl_servers(self) -> str:
        return f"127.0.0.1:{self.sasl_port}"

    def login(self, user: str, password: str) -> dict[str, str]:
        """How a user's client reaches it, as librdkafka's properties."""
        return {
            "bootstrap.servers": self.sasl_servers,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": password,
        }

    @property
    def operator_settings(self) -> dict[str, str]:
        """The settings of an operator that manages users."""
        return {
            "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": self.sasl_servers,
            "MAILTOPIC_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "MAILTOPIC_KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
            "MAILTOPIC_KAFKA__USERNAME": OPERATOR,
            "MAILTOPIC_KAFKA__PASSWORD": PASSWORD,
            "MAILTOPIC_OPERATOR__KAFKA_USERS__ENABLED": "true",
        }


class Administrator:
    """What a person with all rights sees and does."""

    def __init__(self, node: ScramNode) -> None:
        self._client = AdminClient({"bootstrap.servers": node.bootstrap_servers})

    async def set_password(self, user: str, password: str, iterations: int = 4096) -> None:
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, iterations)
        wanted = UserScramCredentialUpsertion(user, info, password.encode())
        await self._done(self._client.alter_user_scram_credentials([wanted]))

    async def remove_user(self, user: str) -> None:
        gone = UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)
        await self._done(self._client.alter_user_scram_credentials([gone]))

    async def users(self) -> set[str]:
        found: Any = self._client.describe_user_scram_credentials()
        return set(await asyncio.to_thread(found.result, 30))

    async def allow(self, user: str, *rules: Rule) -> None:
        await self._done(self._client.create_acls([_acl(AclBinding, user, r) for r in rules]))

    async def forbid(self, user: str, *rules: Rule) -> None:
        await self._done(self._client.delete_acls([_acl(AclBindingFilter, user, r) for r in rules]))

    async def rules(self, user: str | None = None) -> set[tuple[str, Rule]]:
        """Return all ACLs, or a user's, as (principal, rule)."""
        made: Any = AclBindingFilter  # its hints leave out that None stands for anything
        every = made(
            ResourceType.ANY,
            None,
            ResourcePatternType.ANY,
            user and f"User:{user}",
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        found = await asyncio.to_thread(self._client.describe_acls(every).result, 30)
        return {
            (
                each.principal,
                (
                    each.restype.name,
                    each.resource_pattern_type.name,
                    each.name,
                    each.operation.name,
                ),
            )
            for each in found
        }

    async def _done(self, futures: dict[Any, Any]) -> None:
        for future in futures.values():
            await asyncio.to_thread(future.result, 30)


def _acl(made: Any, user: str, rule: Rule) -> Any:
    resource, pattern, name, operation = rule
    return made(
        ResourceType[resource],
        name,
        ResourcePatternType[pattern],
        f"User:{user}",
        "*",
        AclOperation[operation],
        AclPermissionType.ALLOW,
    )


async def with_operator(node: ScramNode, rules: Iterable[Rule] = OPERATOR_RULES) -> Administrator:
    """Give the operator its login and rights; return the administrator."""
    administrator = Administrator(node)
    await administrator.set_password(OPERATOR, PASSWORD)
    await administrator.allow(OPERATOR, *rules)
    return administrator
