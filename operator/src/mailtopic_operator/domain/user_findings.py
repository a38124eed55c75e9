"""Whether a MailTopic's user in Kafka is as wanted, and what to do where that can't be achieved."""

from collections.abc import Sequence
from typing import Final

from mailtopic_operator.domain.actions import USER_ACTIONS, Action, target
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.findings import Finding, good, pending, stalled
from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind, UserState
from mailtopic_operator.domain.observed import KubeProblemKind, Observed
from mailtopic_operator.domain.user_names import secret_name
from mailtopic_operator.domain.users import wanted_acls
from mailtopic_operator.model.mailtopic_status import MAX_USERS

_OFF: Final = "or set operator.kafkaUsers.enabled=false"
_ADVICE: Final = {
    ProblemKind.NOT_AUTHORISED: (
        "NotAuthorised",
        f"allow the operator's Kafka user Alter and Describe on the cluster, {_OFF}",
    ),
    ProblemKind.NO_AUTHORIZER: (
        "NoAuthorizer",
        f"the brokers check no ACLs: set authorizer.class.name on them, {_OFF}",
    ),
    ProblemKind.NOT_SUPPORTED: (
        "ScramNotSupported",
        f"the brokers store no SCRAM passwords: enable SCRAM on them, {_OFF}",
    ),
    ProblemKind.POLICY: ("PolicyViolation", f"a policy of the brokers refuses it, {_OFF}"),
    ProblemKind.INVALID: (
        "PasswordNotAccepted",
        "delete the Secret, and the operator makes another password",
    ),
}


def user_obstacle(desired: Desired, observed: Observed) -> Finding | None:
    """Return why nothing may be done about the user; None if it may, or isn't managed."""
    if desired.kafka_user is None:
        return None
    return (
        _shared_group(desired)
        or _foreign_secret(desired, observed)
        or _unclaimed(desired, observed, desired.kafka_user)
    )


def _shared_group(desired: Desired) -> Finding | None:
    main = desired.names.main
    if main.endswith(".retry"):
        return stalled(
            "TopicNotAllowed",
            f"the senders' group {main} would be that of topic {main.removesuffix('.retry')}: make"
            " a MailTopic with a name that doesn't end with .retry",
        )
    return None


def _foreign_secret(desired: Desired, observed: Observed) -> Finding | None:
    secret = observed.secrets.get(secret_name(desired.meta.name))
    if secret is not None and secret.owner != desired.meta.uid:
        name = secret_name(desired.meta.name)
        return stalled(
            "NameTaken",
            f"Secret {name} is not of this MailTopic: delete it, or rename the MailTopic",
        )
    return None


def _unclaimed(desired: Desired, observed: Observed, user: str) -> Finding | None:
    claimed = [each.name for each in desired.status.kafka_users]
    if user in claimed:
        return None
    state = observed.kafka_users.get(user)
    if isinstance(state, UserState) and not state.is_absent:
        return stalled(
            "UserExists",
            f"Kafka has a user {user} that the operator didn't create: delete it, or ask for"
            f" another one with kubectl -n {desired.meta.namespace} annotate --overwrite mailtopic"
            f" {desired.meta.name} mailtopic.dev/kafka-user=$(date +%s)",
        )
    if len(claimed) >= MAX_USERS:
        return pending("TooManyUsers", "another user is created when a former one is removed")
    return None


def judge_user(desired: Desired, observed: Observed, actions: Sequence[Action]) -> Finding:
    """Return the finding for KafkaUserReady; actions are those about to be done."""
    return (
        user_obstacle(desired, observed)
        or _undescribed(desired, observed)
        or _refused(observed, actions)
        or _unfinished(desired, actions)
        or good("AsSpecified", _summary(desired))
    )


def _undescribed(desired: Desired, observed: Observed) -> Finding | None:
    state = observed.kafka_users.get(desired.kafka_user or "")
    if isinstance(state, UserState):
        return None
    if isinstance(state, KafkaProblem) and state.kind in _ADVICE:
        reason, advice = _ADVICE[state.kind]
        return stalled(reason, f"{state.message}; {advice}")
    message = state.message if state is not None else "the user has not been looked at"
    return Finding("Unknown", "KafkaUnavailable", message, is_progressing=True)


def _refused(observed: Observed, actions: Sequence[Action]) -> Finding | None:
    due = {target(action) for action in actions if isinstance(action, USER_ACTIONS)}
    for failure in observed.failures:
        if failure.target not in due:
            continue
        if isinstance(failure.kind, ProblemKind) and failure.kind in _ADVICE:
            reason, advice = _ADVICE[failure.kind]
            return stalled(reason, f"{failure.target}: {failure.message}; {advice}")
        if failure.kind in {KubeProblemKind.FORBIDDEN, KubeProblemKind.REFUSED}:
            return stalled(
                "Forbidden",
                f"{failure.target}: {failure.message}; allow the operator create and patch on"
                f" secrets, {_OFF}",
            )
        return pending("Retrying", f"{failure.target}: {failure.message}")
    return None


def _unfinished(desired: Desired, actions: Sequence[Action]) -> Finding | None:
    user = desired.kafka_user
    if any(isinstance(a, USER_ACTIONS) and (user or "") in target(a) for a in actions):
        return pending("UserDiffers", f"user {user} is about to be set up")
    return None


def _summary(desired: Desired) -> str:
    former = len(desired.status.kafka_users) - 1
    said = f"user {desired.kafka_user} has its {len(wanted_acls(desired))} ACLs"
    return said if former < 1 else f"{said}; former ones that aren't removed yet: {former}"
