"""Users of a real cluster and what they may do, by Kafka's admin API.

The operator's right to change users (Alter on the cluster) covers every user and every resource, so
this adapter refuses, before any request, what isn't needed for MailTopics.
"""

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from confluent_kafka import admin as kafka

from mailtopic_operator.adapters.kafka_client import KafkaClient
from mailtopic_operator.domain.kafka import Acl, KafkaProblem, ProblemKind, UserState

_ANY_OF: Final[Any] = kafka.AclBindingFilter
"""Its hints leave out that None stands for anything."""

_GRANTED: Final = {
    "TOPIC": frozenset({"READ", "WRITE", "DESCRIBE_CONFIGS"}),
    "GROUP": frozenset({"READ"}),
    "TRANSACTIONAL_ID": frozenset({"WRITE"}),
}
"""All that is ever granted, on resources with exactly one name."""


class ConfluentUsers:
    """`KafkaUsers` by confluent-kafka.

    Args:
        client: makes the requests.
        mechanism: SCRAM-SHA-256 or SCRAM-SHA-512.
        prefix: what the names of all users begin with that may be touched; not empty.
    """

    def __init__(self, client: KafkaClient, *, mechanism: str, prefix: str) -> None:
        self._client = client
        self._mechanism = kafka.ScramMechanism[mechanism.replace("-", "_")]
        if not prefix:
            raise ValueError("without a prefix every user could be changed")
        self._prefix = prefix

    async def describe(self, users: Collection[str]) -> Mapping[str, UserState | KafkaProblem]:
        """Return each user's state; nothing stored is a state, too."""
        names = sorted(users)
        if not names:
            return {}
        problem = await self._hindrance()
        if problem is not None:
            return dict.fromkeys(names, problem)
        passwords = await self._client.ask(
            "describe_users", partial(_describe_users, names, self._options), self._iterations
        )
        acls = await self._client.ask(
            "describe_acls",
            lambda client: {
                name: client.describe_acls(self._all_of(name), **self._options) for name in names
            },
            # Empty also where Kafka has no authorizer, which librdkafka doesn't report: that shows
            # when ACLs are created.
            lambda found: frozenset(map(_acl, found)),
        )
        return {name: _state(passwords[name], acls[name]) for name in names}

    async def set_passwords(
        self, passwords: Mapping[str, tuple[bytes, int]]
    ) -> Mapping[str, KafkaProblem | None]:
        """Store passwords with their iterations; users that don't exist are created."""
        wanted = [
            kafka.UserScramCredentialUpsertion(
                self._own(user), kafka.ScramCredentialInfo(self._mechanism, iterations), password
            )
            for user, (password, iterations) in passwords.items()
        ]
        return await self._alter_users(wanted)

    async def allow(self, acls: Mapping[str, Iterable[Acl]]) -> Mapping[str, KafkaProblem | None]:
        """Create ACLs by user; one that exists is a success.

        Raises:
            ValueError: such an ACL is never granted.
        """
        wanted = [self._binding(user, _granted(acl)) for user, some in acls.items() for acl in some]
        answers = await self._client.ask(
            "create_acls",
            lambda client: client.create_acls(wanted, **self._options),
            _nothing,
        )
        return self._by_user(acls, ((each.principal, found) for each, found in answers.items()))

    async def forbid(self, acls: Mapping[str, Iterable[Acl]]) -> Mapping[str, KafkaProblem | None]:
        """Delete ACLs by user; an absent one is a success."""
        return await self._delete_acls(
            acls, [self._filter(user, acl) for user, some in acls.items() for acl in some]
        )

    async def drop(self, users: Collection[str]) -> Mapping[str, KafkaProblem | None]:
        """Delete users with their passwords and all their ACLs; an absent one is a success."""
        names = sorted(users)
        gone = [kafka.UserScramCredentialDeletion(self._own(u), self._mechanism) for u in names]
        answers = dict(await self._alter_users(gone))
        for user, problem in answers.items():
            if problem is not None and problem.kind is ProblemKind.MISSING:
                answers[user] = None
        rest = [user for user, problem in answers.items() if problem is None]
        return {**answers, **await self._delete_acls(rest, [self._all_of(user) for user in rest])}

    async def _hindrance(self) -> KafkaProblem | None:
        """Return what is missing to describe and alter users; None if nothing is.

        librdkafka 2.16 must not be refused: it reports ACLs as an empty list, and for users it was
        seen to abort the process.
        """
        answers = await self._client.ask(
            "describe_cluster",
            lambda client: {
                "": client.describe_cluster(include_authorized_operations=True, **self._options)
            },
            lambda cluster: set(cluster.authorized_operations or ()),
        )
        allowed = answers[""]
        if isinstance(allowed, KafkaProblem):
            return allowed
        missing = {kafka.AclOperation.ALTER, kafka.AclOperation.DESCRIBE} - allowed
        if not missing:
            return None
        names = " and ".join(sorted(each.name.title() for each in missing))
        said = f"the operator's user may not {names} the cluster"
        return KafkaProblem(ProblemKind.NOT_AUTHORISED, said)

    @property
    def _options(self) -> dict[str, float]:
        return {"request_timeout": self._client.timeout_s}

    def _own(self, user: str) -> str:
        if not user.startswith(self._prefix) or user == self._prefix:
            raise ValueError(f"only users {self._prefix}… are the operator's")
        return user

    def _principal(self, user: str) -> str:
        return f"User:{self._own(user)}"

    def _iterations(self, description: Any) -> int | None:
        infos = description.scram_credential_infos
        return next((each.iterations for each in infos if each.mechanism == self._mechanism), None)

    def _binding(self, user: str, acl: Acl) -> kafka.AclBinding:
        return kafka.AclBinding(*self._parts(user, acl))

    def _filter(self, user: str, acl: Acl) -> kafka.AclBindingFilter:
        return kafka.AclBindingFilter(*self._parts(user, acl))

    def _parts(self, user: str, acl: Acl) -> tuple[Any, ...]:
        return (
            kafka.ResourceType[acl.resource],
            acl.name,
            kafka.ResourcePatternType[acl.pattern],
            self._principal(user),
            acl.host,
            kafka.AclOperation[acl.operation],
            kafka.AclPermissionType[acl.permission],
        )

    def _all_of(self, user: str) -> kafka.AclBindingFilter:
        every: kafka.AclBindingFilter = _ANY_OF(
            kafka.ResourceType.ANY,
            None,
            kafka.ResourcePatternType.ANY,
            self._principal(user),
            None,
            kafka.AclOperation.ANY,
            kafka.AclPermissionType.ANY,
        )
        return every

    async def _alter_users(self, wanted: list[Any]) -> Mapping[str, KafkaProblem | None]:
        if not wanted:
            return {}
        return await self._client.ask(
            "alter_users",
            lambda client: client.alter_user_scram_credentials(wanted, **self._options),
            _nothing,
        )

    async def _delete_acls(
        self, users: Iterable[str], filters: list[kafka.AclBindingFilter]
    ) -> Mapping[str, KafkaProblem | None]:
        if not filters:
            return dict.fromkeys(users)
        answers = await self._client.ask(
            "delete_acls",
            lambda client: client.delete_acls(filters, **self._options),
            _nothing,
        )
        return self._by_user(users, ((each.principal, found) for each, found in answers.items()))

    def _by_user(
        self, users: Iterable[str], answers: Iterable[tuple[str, KafkaProblem | None]]
    ) -> dict[str, KafkaProblem | None]:
        """Return the first problem of each user."""
        found: dict[str, KafkaProblem | None] = dict.fromkeys(users)
        for principal, problem in answers:
            user = principal.removeprefix("User:")
            found[user] = found[user] or problem
        return found


def _describe_users(
    names: list[str], options: Mapping[str, Any], client: kafka.AdminClient
) -> dict[str, Future[Any]]:
    # With names, the answer is a future for each of them.
    answers: Any = client.describe_user_scram_credentials(names, **options)
    return dict(answers)


def _state(
    iterations: int | KafkaProblem | None, acls: frozenset[Acl] | KafkaProblem
) -> UserState | KafkaProblem:
    if isinstance(acls, KafkaProblem):
        return acls
    if isinstance(iterations, KafkaProblem):
        if iterations.kind is not ProblemKind.MISSING:
            return iterations
        iterations = None
    return UserState(iterations, acls)


def _acl(binding: Any) -> Acl:
    return Acl(
        binding.restype.name,
        binding.name,
        binding.operation.name,
        binding.resource_pattern_type.name,
        binding.host,
        binding.permission_type.name,
    )


def _granted(acl: Acl) -> Acl:
    is_one_name = acl.pattern == "LITERAL" and acl.name not in {"", "*"}
    is_internal = acl.name.startswith("__")
    if acl.permission != "ALLOW" or not is_one_name or is_internal:
        raise ValueError("rights are granted on single resources that aren't Kafka's own")
    if acl.operation not in _GRANTED.get(acl.resource, frozenset()):
        raise ValueError(f"{acl.operation} on {acl.resource} is never granted")
    return acl


def _nothing(_answer: object) -> None:
    return None
