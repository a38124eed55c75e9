"""A MailTopic's user in Kafka: its wanted state, and the actions that lead to it.

A rotation makes another user beside the current one, and the senders roll to it. The former user is
removed once no sender uses it any more: neither is ever without a valid login.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from mailtopic_operator.domain.actions import (
    Action,
    ClaimKafkaUser,
    DropKafkaUser,
    DropPassword,
    Event,
    MakePassword,
    SetAcls,
    SetKafkaUser,
)
from mailtopic_operator.domain.children.common import child
from mailtopic_operator.domain.children.family import deployment_ref
from mailtopic_operator.domain.children.pod import GRACE_S
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.kafka import Acl, UserState
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.domain.times import timestamp
from mailtopic_operator.domain.user_names import is_user_of, password_key, secret_name
from mailtopic_operator.model.mailtopic_status import KafkaUserStatus

MARGIN_S: Final = 20.0
"""Seconds beyond the grace period in which a stopped pod may still be connected."""

_ITERATIONS: Final = 8192
"""Kafka takes 4096 to 16384 (KIP-554); kafka-configs uses 4096."""


def iterations_of(version: str) -> int:
    """Return the SCRAM iterations for a password, by the digest of it that `DataObject` has.

    Kafka shows no more of a password than its iterations. So they depend on the password: where a
    Secret or a user was changed by hand, they differ, with a probability of 8191 in 8192.
    """
    return _ITERATIONS + int(version, 16) % _ITERATIONS


def wanted_acls(desired: Desired) -> frozenset[Acl]:
    """Return what the senders of a MailTopic, and its replays, may do: no more than they use."""
    main = desired.names.main
    topics = {
        Acl("TOPIC", name, operation)
        for name in desired.names.all
        for operation in ("READ", "WRITE", "DESCRIBE_CONFIGS")
    }
    groups = {Acl("GROUP", group, "READ") for group, _ in desired.consumer_groups}
    replay = Acl("TRANSACTIONAL_ID", f"mailtopic-dlq-replay-{main}", "WRITE")
    return frozenset({*topics, *groups, replay})


def secret_version(desired: Desired, observed: Observed, user: str) -> str | None:
    """Return the digest of a user's password in the Secret; None if it isn't there."""
    secret = observed.secrets.get(secret_name(desired.meta.name))
    if secret is None or secret.owner != desired.meta.uid:
        return None
    return secret.versions.get(password_key(user))


def user_actions(desired: Desired, observed: Observed, now: datetime) -> Iterator[Action]:
    """Yield the actions that make the user as wanted; none while Kafka doesn't describe it."""
    user = desired.kafka_user
    state = observed.kafka_users.get(user) if user is not None else None
    if user is None or not isinstance(state, UserState):
        return
    if user not in {each.name for each in desired.status.kafka_users}:
        yield _claim(desired, user)
    version = secret_version(desired, observed, user)
    secret = secret_name(desired.meta.name)
    if version is None:
        yield MakePassword(_secret(desired), password_key(user))
    if version is None or state.iterations != iterations_of(version):
        yield SetKafkaUser(
            user, desired.meta.namespace, secret, password_key(user), _set(desired, state, user)
        )
    wanted = wanted_acls(desired)
    if state.acls != wanted:
        event = _put_back(desired, user) if _is_settled(desired, state) else None
        yield SetAcls(user, wanted - state.acls, state.acls - wanted, event)
    for name in _due_to_go(desired, now):
        if not _is_gone(observed, name):
            event = Event("Normal", "KafkaUserRemoved", f"user {name} isn't used any more")
            yield DropKafkaUser(name, event)
        elif secret_version(desired, observed, name) is not None:
            yield DropPassword(secret, password_key(name))


def _claim(desired: Desired, user: str) -> ClaimKafkaUser:
    claimed = (*desired.status.kafka_users, KafkaUserStatus(name=user))
    return ClaimKafkaUser(user, {"status": {"kafkaUsers": [each.to_object() for each in claimed]}})


def _secret(desired: Desired) -> Mapping[str, Any]:
    manifest = child("v1", "Secret", desired, type="Opaque")
    metadata = {**manifest["metadata"], "name": secret_name(desired.meta.name)}
    return {**manifest, "metadata": metadata}


def _is_settled(desired: Desired, state: UserState) -> bool:
    is_reported = desired.status.observed_generation == desired.meta.generation
    return is_reported and not state.is_absent


def _set(desired: Desired, state: UserState, user: str) -> Event:
    if state.is_absent:
        return Event("Normal", "KafkaUserCreated", f"user {user}")
    return _put_back(desired, user)


def _put_back(desired: Desired, user: str) -> Event:
    del desired
    return Event("Warning", "DriftCorrected", f"user {user} had been changed; put back")


def user_ready(desired: Desired, observed: Observed) -> bool:
    """Whether senders can log in and do their work; while Kafka doesn't answer: whether they did.

    Where users aren't managed, that isn't known, and True.
    """
    user = desired.kafka_user
    if user is None:
        return True
    state = observed.kafka_users.get(user)
    if not isinstance(state, UserState):
        return _senders_user(desired, observed) == user
    version = secret_version(desired, observed, user)
    return (
        version is not None
        and state.iterations == iterations_of(version)
        and wanted_acls(desired) <= state.acls
    )


def user_statuses(
    desired: Desired, observed: Observed, now: datetime
) -> tuple[KafkaUserStatus, ...]:
    """Return the users that were created for the MailTopic and may exist, the latest last."""
    left = [
        each
        for each in desired.status.kafka_users
        if each.name == desired.kafka_user
        or not _is_gone(observed, each.name)
        or secret_version(desired, observed, each.name) is not None
    ]
    is_rolled_out = _is_rolled_out(desired, observed)
    return tuple(_with_use(desired, each, now, is_rolled_out=is_rolled_out) for each in left)


def _with_use(
    desired: Desired, was: KafkaUserStatus, now: datetime, *, is_rolled_out: bool
) -> KafkaUserStatus:
    if desired.kafka_user is None:
        return was
    is_unused = was.name != desired.kafka_user and is_rolled_out
    since = (was.unused_since or timestamp(now)) if is_unused else None
    return was.model_copy(update={"unused_since": since})


def _due_to_go(desired: Desired, now: datetime) -> Iterator[str]:
    """Yield former users that no sender has used for longer than one takes to stop."""
    for each in desired.status.kafka_users:
        if each.name != desired.kafka_user and _is_own(desired, each.name):
            left = left_s(desired, each, now)
            if left is not None and left <= 0:
                yield each.name


def left_s(desired: Desired, user: KafkaUserStatus, now: datetime) -> float | None:
    """Return in how many seconds a former user is removed; None while a sender may use it."""
    if user.unused_since is None:
        return None
    template = desired.spec.consumers.pod_template or {}
    grace = (template.get("spec") or {}).get("terminationGracePeriodSeconds", GRACE_S)
    wait_s = max(float(grace), GRACE_S) + MARGIN_S
    passed: timedelta = now - datetime.fromisoformat(user.unused_since)
    return wait_s - passed.total_seconds()


def users_to_drop(desired: Desired, observed: Observed) -> tuple[str, ...]:
    """Return the users to delete with the MailTopic: those of its status that may exist."""
    if desired.kafka_user is None:
        return ()
    return tuple(
        each.name
        for each in desired.status.kafka_users
        if _is_own(desired, each.name) and not _is_gone(observed, each.name)
    )


def _is_own(desired: Desired, user: str) -> bool:
    """Whether a name from the status is one of this MailTopic's: no other is ever removed."""
    users, meta = desired.defaults.kafka_users, desired.meta
    return users is not None and is_user_of(user, users.prefix, meta.namespace, meta.name)


def _is_gone(observed: Observed, user: str) -> bool:
    state = observed.kafka_users.get(user)
    return isinstance(state, UserState) and state.is_absent


def _is_rolled_out(desired: Desired, observed: Observed) -> bool:
    """Whether all pods that run, or none, have the current user."""
    live = observed.children.get(deployment_ref(desired))
    if live is None:
        return True
    if _senders_user(desired, observed) != desired.kafka_user:
        return False
    status = live.get("status") or {}
    is_seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    return bool(is_seen and status.get("replicas", 0) == status.get("updatedReplicas", 0))


def _senders_user(desired: Desired, observed: Observed) -> str | None:
    live = observed.children.get(deployment_ref(desired)) or {}
    template = (live.get("spec") or {}).get("template") or {}
    return next(
        (
            entry.get("value")
            for container in (template.get("spec") or {}).get("containers") or ()
            for entry in container.get("env") or ()
            if entry["name"] == "MAILTOPIC_KAFKA__USERNAME"
        ),
        None,
    )
