"""A broker that listens in several ways, and what its administrator does."""

import asyncio
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mailtopic_cli.kafka_node import KafkaNode
from support.ports import free_ports
from support.smtp_relay import Authority

USER, PASSWORD = "sender", "not-a-secret"


class ListenersNode(KafkaNode):
    """Without a login for the administrator, and with one and with TLS for others.

    Attributes:
        sasl_port: takes USER by PLAIN, without TLS; ACLs hold for that user.
        tls_port: TLS without a login.
        lost_port: answers as the others do, but names an address at which nothing listens.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        port, controller, self.sasl_port, self.tls_port, self.lost_port, self.nothing = free_ports(
            6
        )
        authority = Authority()
        self.ca_file = authority.write_pem(directory / "kafka-ca.pem")
        pem = authority.write_server_pem(directory / "kafka.pem", "127.0.0.1")
        pem.write_bytes(_with_pkcs8(pem.read_bytes()))
        listeners = {
            "PLAINTEXT": port,
            "SASL": self.sasl_port,
            "TLS": self.tls_port,
            "LOST": self.lost_port,
        }
        listening = [f"{name}://127.0.0.1:{number}" for name, number in listeners.items()]
        advertised = [each for each in listening if not each.startswith("LOST")]
        login = "org.apache.kafka.common.security.plain.PlainLoginModule"
        super().__init__(
            directory,
            port=port,
            controller_port=controller,
            properties={
                "listeners": ",".join([*listening, f"CONTROLLER://127.0.0.1:{controller}"]),
                "advertised.listeners": ",".join([*advertised, f"LOST://127.0.0.1:{self.nothing}"]),
                "listener.security.protocol.map": (
                    "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,LOST:PLAINTEXT,"
                    "CONTROLLER:PLAINTEXT"
                ),
                "inter.broker.listener.name": "PLAINTEXT",
                "sasl.enabled.mechanisms": "PLAIN",
                "listener.name.sasl.plain.sasl.jaas.config": (
                    f'{login} required user_{USER}="{PASSWORD}";'
                ),
                "listener.name.tls.ssl.keystore.type": "PEM",
                "listener.name.tls.ssl.keystore.location": str(pem),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
            },
        )

    @property
    def login(self) -> dict[str, str]:
        """The settings of a service that logs in."""
        return {
            "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{self.sasl_port}",
            "MAILTOPIC_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "MAILTOPIC_KAFKA__SASL_MECHANISM": "PLAIN",
            "MAILTOPIC_KAFKA__USERNAME": USER,
            "MAILTOPIC_KAFKA__PASSWORD": PASSWORD,
        }

    async def allow(self, topic: str, *, also: tuple[str, ...] = ()) -> None:
        """Allow USER what a sender needs of topics that exist, and operations beyond that."""
        operations = ["READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS", *also]
        topics = [_acl(ResourceType.TOPIC, topic, each) for each in operations]
        await self._alter("create_acls", [*topics, _acl(ResourceType.GROUP, topic, "READ")])
        await self._alter(
            "create_acls", [_acl(ResourceType.BROKER, "kafka-cluster", "IDEMPOTENT_WRITE")]
        )

    async def forbid(self, kind: ResourceType, topic: str) -> None:
        """Take back what was allowed on a kind of resource."""
        every = AclBindingFilter(
            kind,
            topic,
            ResourcePatternType.PREFIXED,
            f"User:{USER}",
            "*",
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        await self._alter("delete_acls", [every])

    async def deny_writing(self, topic: str) -> None:
        """Forbid USER to write to one topic, whatever else is allowed."""
        await self._alter("create_acls", [_denial(topic)])

    async def allow_writing(self, topic: str) -> None:
        """Take back what `deny_writing` did."""
        denial = _denial(topic)
        fields = (getattr(denial, name) for name in _ACL_FIELDS)
        await self._alter("delete_acls", [AclBindingFilter(*fields)])

    async def _alter(self, call: str, what: list[Any]) -> None:
        client = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        for done in getattr(client, call)(what).values():
            await asyncio.to_thread(done.result, 30)


def _with_pkcs8(pem: bytes) -> bytes:
    """Return a key and its chain with the key in the one form that Java reads."""
    key = load_pem_private_key(pem, None)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text + pem[pem.index(b"-----BEGIN CERTIFICATE") :]


def _acl(kind: ResourceType, name: str, operation: str) -> AclBinding:
    is_cluster = kind is ResourceType.BROKER
    return AclBinding(
        kind,
        name,
        ResourcePatternType.LITERAL if is_cluster else ResourcePatternType.PREFIXED,
        f"User:{USER}",
        "*",
        AclOperation[operation],
        AclPermissionType.ALLOW,
    )


_ACL_FIELDS = (
    "restype",
    "name",
    "resource_pattern_type",
    "principal",
    "host",
    "operation",
    "permission_type",
)


def _denial(topic: str) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        f"User:{USER}",
        "*",
        AclOperation.WRITE,
        AclPermissionType.DENY,
    )


class Topics:
    """What an administrator does to topics by hand."""

    def __init__(self, servers: str) -> None:
        self._servers = servers

    async def create(self, *names: str, partitions: int) -> None:
        await self._call("create_topics", [NewTopic(name, partitions, 1) for name in names])

    async def delete(self, *names: str) -> None:
        await self._call("delete_topics", list(names))

    async def grow(self, *names: str, partitions: int) -> None:
        wanted = {name: NewPartitions(partitions) for name in names}
        await self._call("create_partitions", wanted)

    async def counts(self) -> dict[str, int]:
        found = await self._call("describe_topics")
        return {topic["topic"]: len(topic["partitions"]) for topic in found}

    async def _call(self, name: str, *arguments: Any) -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        try:
            answer = await getattr(admin, name)(*arguments)
        finally:
            await admin.close()
        refusals = [each for each in getattr(answer, "topic_errors", ()) if each[1]]
        assert not refusals, refusals
        return answer
