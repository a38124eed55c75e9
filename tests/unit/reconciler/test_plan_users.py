"""What is planned about a MailTopic's users in Kafka."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mailtopic_operator.adapters.kafka_client import KafkaClient
from mailtopic_operator.adapters.kafka_users import ConfluentUsers
from mailtopic_operator.domain.actions import (
    USER_ACTIONS,
    AddFinalizer,
    DropKafkaUser,
    RemoveFinalizer,
    SetAcls,
    SetKafkaUser,
)
from mailtopic_operator.domain.defaults import KafkaAccess, KafkaUsers, OperatorDefaults
from mailtopic_operator.domain.kafka import Acl, KafkaProblem, ProblemKind, UserState
from mailtopic_operator.domain.observed import DataObject
from mailtopic_operator.domain.planning import plan
from mailtopic_operator.domain.user_names import is_user_of, password_key, user_name
from mailtopic_operator.domain.users import iterations_of, wanted_acls
from mailtopic_operator.model.mailtopic import FINALIZER, KAFKA_USER
from support.mailtopic_world import START, World, spec

PREFIX = "mailtopic."
DEFAULTS = OperatorDefaults(
    kafka=KafkaAccess("kafka:9092", "SASL_SSL"), kafka_users=KafkaUsers(PREFIX)
)
VERSION = "0123456789abcdef0123456789abcdef"


def world(**changes: object) -> World:
    return World(defaults=DEFAULTS, **changes)  # type: ignore[arg-type]


def secret(user: str, owner: str = "uid-of-mails") -> DataObject:
    key = password_key(user)
    return DataObject("v", frozenset({key}), "", owner, {key: VERSION})


def settled(shop: World) -> str:
    """Make the user as wanted; return its name."""
    user = shop.desired.kafka_user
    assert user is not None
    shop.finalizers = [FINALIZER]
    shop.status = {**shop.status, "kafkaUsers": [{"name": user}]}
    shop.secrets = {"mails-kafka": secret(user)}
    shop.kafka_users = {user: UserState(iterations_of(VERSION), wanted_acls(shop.desired))}
    return user


def user_actions(shop: World) -> list[str]:
    return [type(a).__name__ for a in shop.plan().actions if isinstance(a, USER_ACTIONS)]


def reason(shop: World) -> str:
    status = shop.plan().status
    assert status is not None
    found = {c["type"]: c["reason"] for c in status.status["conditions"]}
    return str(found["KafkaUserReady"])


def test_a_user_is_claimed_before_it_is_created_and_kept_by_a_finalizer() -> None:
    shop = world()
    shop.kafka_users = {str(shop.desired.kafka_user): UserState()}
    assert user_actions(shop) == ["ClaimKafkaUser", "MakePassword", "SetKafkaUser", "SetAcls"]
    assert AddFinalizer() in shop.plan().actions
    settled(shop)
    assert user_actions(shop) == []


def test_nothing_is_planned_where_users_are_not_managed() -> None:
    shop = World()
    assert shop.desired.kafka_user is None
    assert user_actions(shop) == []
    assert AddFinalizer() not in shop.plan().actions


def test_each_acl_names_exactly_one_resource_and_no_more_than_a_sender_uses() -> None:
    acls = wanted_acls(world().desired)
    assert {(acl.pattern, acl.permission, acl.host) for acl in acls} == {("LITERAL", "ALLOW", "*")}
    assert {(acl.resource, acl.operation) for acl in acls} == {
        ("TOPIC", "READ"),
        ("TOPIC", "WRITE"),
        ("TOPIC", "DESCRIBE_CONFIGS"),
        ("GROUP", "READ"),
        ("TRANSACTIONAL_ID", "WRITE"),
    }
    assert {acl.name for acl in acls if acl.resource == "GROUP"} == {"mails", "mails.retry"}


def test_drift_of_acls_and_passwords_is_put_back() -> None:
    shop = world()
    user = settled(shop)
    state = shop.kafka_users[user]
    assert isinstance(state, UserState)
    extra, missing = Acl("TOPIC", "payments", "READ", "PREFIXED"), Acl("TOPIC", "mails", "READ")
    acls = state.acls - {missing} | {extra}
    shop.kafka_users = {user: replace(state, acls=acls)}
    (action,) = [a for a in shop.plan().actions if isinstance(a, SetAcls)]
    assert action.allow == {missing}
    assert action.forbid == {extra}
    shop.kafka_users = {user: replace(state, iterations=4096)}
    (again,) = [a for a in shop.plan().actions if isinstance(a, SetKafkaUser)]
    assert again.user == user


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (ProblemKind.NOT_AUTHORISED, "NotAuthorised"),
        (ProblemKind.NO_AUTHORIZER, "NoAuthorizer"),
        (ProblemKind.NOT_SUPPORTED, "ScramNotSupported"),
        (ProblemKind.UNAVAILABLE, "KafkaUnavailable"),
    ],
)
def test_what_cannot_be_done_is_a_condition(kind: ProblemKind, said: str) -> None:
    shop = world()
    shop.kafka_users = {settled(shop): KafkaProblem(kind, "words")}
    assert user_actions(shop) == []
    assert reason(shop) == said


def test_neither_a_foreign_user_nor_a_foreign_secret_nor_anothers_group_is_touched() -> None:
    shop = world()
    user = settled(shop)
    shop.status = {}
    assert (user_actions(shop), reason(shop)) == ([], "UserExists")
    settled(shop)
    shop.secrets = {"mails-kafka": secret(user, owner="another")}
    assert (user_actions(shop), reason(shop)) == ([], "NameTaken")
    shop = world(spec=spec(topic={"name": "mails.retry"}))
    settled(shop)
    shop.kafka_users = {str(shop.desired.kafka_user): UserState()}
    assert (user_actions(shop), reason(shop)) == ([], "TopicNotAllowed")


def test_a_former_user_goes_only_when_no_sender_can_use_it_any_more() -> None:
    shop = world()
    former = settled(shop)
    old = shop.kafka_users[former]
    shop.annotations = {KAFKA_USER: "2"}
    user = settled(shop)
    assert user != former
    shop.kafka_users[former] = old
    shop.status = {"kafkaUsers": [{"name": former}, {"name": user}]}
    assert user_actions(shop) == []
    since = START.isoformat().replace("+00:00", "Z")
    shop.status = {"kafkaUsers": [{"name": former, "unusedSince": since}, {"name": user}]}
    shop.now = START + timedelta(seconds=59)
    assert user_actions(shop) == []
    assert 0 < (plan(shop.desired, shop.observed, shop.now).requeue_after_s or 0) <= 2
    shop.now = START + timedelta(seconds=61)
    dropped = [a.user for a in shop.plan().actions if isinstance(a, DropKafkaUser)]
    assert dropped == [former]


def test_a_status_that_names_another_mailtopics_user_removes_nothing() -> None:
    shop = world()
    user = settled(shop)
    other = user_name(PREFIX, "bank", "mails", "uid", "")
    shop.kafka_users[other] = UserState(8192)
    entry = {"name": other, "unusedSince": "2020-01-01T00:00:00Z"}
    shop.status = {"kafkaUsers": [entry, {"name": user}]}
    assert user_actions(shop) == []
    shop.deleting_since = shop.now
    dropped = [a.user for a in shop.plan().actions if isinstance(a, DropKafkaUser)]
    assert dropped == [user]


def test_a_deleted_mailtopic_is_held_until_its_user_is_gone_or_kafka_had_its_time() -> None:
    shop = world()
    user = settled(shop)
    shop.deleting_since = shop.now
    assert [type(a) for a in shop.plan().actions] == [DropKafkaUser]
    shop.kafka_users = {user: UserState()}
    assert [type(a) for a in shop.plan().actions] == [RemoveFinalizer]
    settled(shop)
    shop.pass_time(3600)
    (last,) = shop.plan().actions
    assert isinstance(last, RemoveFinalizer)
    assert last.event is not None
    assert last.event.reason == "KafkaUserLeft"


def test_no_two_mailtopics_share_a_name() -> None:
    made = user_name(PREFIX, "shop", "a.b", "uid", "")
    assert is_user_of(made, PREFIX, "shop", "a.b")
    assert not is_user_of(made, PREFIX, "shop", "a")
    assert not is_user_of(made, PREFIX, "shop.a", "b.c")
    assert made != user_name(PREFIX, "shop", "a.b", "another uid", "")


@pytest.fixture
def bounded() -> ConfluentUsers:
    client: KafkaClient = object.__new__(KafkaClient)
    return ConfluentUsers(client, mechanism="SCRAM-SHA-512", prefix=PREFIX)


@pytest.mark.parametrize(
    "acl",
    [
        Acl("TOPIC", "mail", "READ", "PREFIXED"),
        Acl("TOPIC", "*", "READ"),
        Acl("TOPIC", "__consumer_offsets", "READ"),
        Acl("TOPIC", "mails", "DELETE"),
        Acl("TOPIC", "mails", "ALL"),
        Acl("BROKER", "kafka-cluster", "ALTER"),
        Acl("TOPIC", "mails", "READ", permission="DENY"),
    ],
)
async def test_the_adapter_grants_nothing_beyond_what_mailtopics_need(
    bounded: ConfluentUsers, acl: Acl
) -> None:
    with pytest.raises(ValueError, match="granted"):
        await bounded.allow({f"{PREFIX}shop.mails.0": [acl]})


@pytest.mark.parametrize("user", ["operator", "*", "", "mailtopic.", "mailtopicx.shop"])
async def test_the_adapter_touches_only_users_with_the_prefix(
    bounded: ConfluentUsers, user: str
) -> None:
    acl = Acl("TOPIC", "mails", "READ")
    for request in (
        bounded.allow({user: [acl]}),
        bounded.forbid({user: [acl]}),
        bounded.set_passwords({user: (b"password", 8192)}),
        bounded.drop([user]),
    ):
        with pytest.raises(ValueError, match="only users"):
            await request
