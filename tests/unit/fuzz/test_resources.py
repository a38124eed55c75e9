"""MailTopics and MailReplays of any JSON: a plan or a refusal, and the CRD says the same."""

import copy
import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from pydantic import ValidationError

from mailtopic_operator.domain.actions import Plan
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.observed import ChildRef, DataObject, Observed
from mailtopic_operator.domain.planning import plan, plan_invalid
from mailtopic_operator.domain.replay_planning import plan_invalid_replay, plan_replay
from mailtopic_operator.domain.replays import DesiredReplay, ObservedReplay
from mailtopic_operator.engine.claims import Claims
from mailtopic_operator.engine.replay_index import ReplayIndex
from mailtopic_operator.engine.sender_sampler import judge_relays
from mailtopic_operator.engine.store import Key
from mailtopic_operator.model.crd import mailreplay_crd, mailtopic_crd
from support.fuzzing import FUZZ_S, Targets, fuzz_target
from support.mailtopic_world import DEFAULTS, START, World, spec
from support.resource_edits import edited

_REF = {"name": "login", "key": "key"}
_OAUTH = {
    "tokenUrl": "https://login.example.net/token",
    "clientId": "app",
    "clientSecretRef": _REF,
    "refreshTokenRef": _REF,
    "caSecretRef": {"name": "ca", "key": "ca.crt"},
    "scope": "mail",
}
_RELAYS = [
    {
        "name": "ses",
        "host": "smtp.example.net",
        "port": 465,
        "security": "TLS",
        "credentialsSecretRef": {"name": "login"},
        "caSecretRef": {"name": "ca"},
        "maxConnections": 5,
        "mailsPerConnection": 10,
        "rateLimit": "14/s",
        "ehloName": "mail.example.net",
        "timeouts": {"connectS": 1, "dotS": 2.5},
        "mechanisms": ["PLAIN"],
    },
    {"name": "b", "host": "192.0.2.1", "username": "a@example.net", "oauth": _OAUTH},
]
_POD = {
    "metadata": {"labels": {"team": "mail"}, "annotations": {"a": "b"}},
    "spec": {"containers": [{"name": "sender", "env": [{"name": "A", "value": "b"}]}]},
}
_CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Delivering",
    "message": "",
    "lastTransitionTime": "2026-11-25T11:00:00Z",
    "observedGeneration": 1,
}
_STATUS = {
    "observedGeneration": 1,
    "topics": [
        {
            "name": "mails",
            "id": "a",
            "partitions": 6,
            "replicationFactor": 3,
            "recreatedAt": "2026-11-25T11:59:00Z",
        }
    ],
    "lag": {"records": 1, "sampledAt": "2026-11-25T11:00:00Z"},
    "conditions": [_CONDITION],
}
_TOPIC: dict[str, Any] = World(
    spec=spec(
        topic={
            "name": "mails",
            "partitions": 8,
            "replicationFactor": 3,
            "retention": "168h",
            "config": {"max.message.bytes": "2000000"},
            "unmanagedConfig": ["segment.ms"],
        },
        relays=_RELAYS,
        template={"configMapRef": {"name": "words"}, "defaultLocale": "en"},
        delivery={"maxAge": "1h", "retryTiers": ["10s", "1m"], "onUnknown": "Hold"},
        consumers={
            "replicas": 2,
            "autoscaling": {"provider": "KEDA", "minReplicas": 1, "maxReplicas": 6},
            "resources": {"limits": {"memory": "192Mi"}},
            "podTemplate": _POD,
        },
        deadLetter={"retention": "336h"},
        sealing={"keysSecretRef": {"name": "keys"}},
        dkim={"keysSecretRef": {"name": "dkim"}, "selectors": ["2026a"], "domain": "example.net"},
        deletionPolicy="Delete",
        paused=False,
    ),
    status=_STATUS,
).body
_REPLAY: dict[str, Any] = {
    "metadata": {**_TOPIC["metadata"], "name": "again", "uid": "uid-of-again"},
    "spec": {
        "mailTopicRef": {"name": "mails"},
        "filter": {
            "classes": ["poison"],
            "since": "2026-11-25T11:00:00Z",
            "until": "2027-01-01T00:00:00Z",
        },
        "ratePerSecond": 10,
        "dryRun": False,
    },
    "status": {"progress": {"matched": 1}, "conditions": [_CONDITION]},
}
_OBSERVED = Observed(
    topics={},
    apis=frozenset({"ScaledObject"}),
    secrets={name: DataObject("1", frozenset(("key",))) for name in ("login", "keys", "dkim")},
)
_KEY = Key("MailTopic", "shop", "mails")
_HELD = Desired.parse(World(status=_STATUS).body, DEFAULTS)


class Admission:
    """An API server with one of our CRDs: what it makes of a body, and whether it takes that.

    Rules in CEL are not looked at: they only refuse more.
    """

    def __init__(self, crd: dict[str, Any]) -> None:
        self._schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        self._validator = jsonschema_rs.validator_for(_json_schema(self._schema))

    def takes(self, body: dict[str, Any]) -> bool:
        return bool(self._validator.is_valid(body))

    def stored(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with defaults, also in place of a null that isn't allowed."""
        made: dict[str, Any] = _defaulted(self._schema, copy.deepcopy(body))
        return made


def _json_schema(part: Any) -> Any:
    """A structural schema as JSON Schema has it."""
    if isinstance(part, list):
        return [_json_schema(each) for each in part]
    if not isinstance(part, dict):
        return part
    made = {key: _json_schema(value) for key, value in part.items() if key != "format"}
    if part.get("format") in {"int32", "int64"}:
        limit = 2 ** (int(part["format"][3:]) - 1)
        made["minimum"] = max(made.get("minimum", -limit), -limit)
        made["maximum"] = min(made.get("maximum", limit - 1), limit - 1)
    return {"anyOf": [{"type": "null"}, made]} if part.get("nullable") is True else made


def _defaulted(schema: dict[str, Any], value: Any) -> Any:
    if isinstance(value, list) and "items" in schema:
        return [_defaulted(schema["items"], each) for each in value]
    if not isinstance(value, dict):
        return value
    for name, part in schema.get("properties", {}).items():
        if value.get(name) is None and part.get("nullable") is not True:
            value.pop(name, None)
            if "default" in part:
                value[name] = copy.deepcopy(part["default"])
        if name in value:
            value[name] = _defaulted(part, value[name])
    return value


_TOPICS, _REPLAYS = Admission(mailtopic_crd()), Admission(mailreplay_crd())


def _refused(made: Plan) -> None:
    """A refusal changes nothing, and says why where the status is one of ours."""
    assert made.actions == ()
    if made.status is not None:
        conditions = made.status.patch["status"]["conditions"]
        assert "InvalidSpec" in {each["reason"] for each in conditions}
        json.dumps(made.status.patch)


def _agrees(admission: Admission, body: dict[str, Any], parse: Callable[[Any], object]) -> None:
    """What an API server takes, the model takes, but for what a rule in CEL refuses."""
    stored = admission.stored(body)
    if not admission.takes(stored):
        return
    try:
        parse(stored)
    except ValidationError as error:
        if not _BY_RULE.issuperset(each["type"] for each in error.errors(include_input=False)):
            raise


_BY_RULE = {"value_error", "topics", "greater_than"}
"""What only a CEL rule of the CRD can say."""


def _planned(made: Plan) -> None:
    for action in made.actions:
        assert str(action)
        json.dumps(getattr(action, "manifest", None))
    if made.status is not None:
        json.dumps(made.status.patch)


def plan_topic(data: bytes) -> None:
    """A MailTopic is planned or refused; also one that an older CRD let in."""
    body = edited(_TOPIC, data)
    _agrees(_TOPICS, body, lambda stored: Desired.parse(stored, DEFAULTS))
    Claims().put(_KEY, body, DEFAULTS)
    try:
        desired = Desired.parse(body, DEFAULTS)
    except ValidationError:
        _refused(plan_invalid(body, "spec: wrong", START))
        return
    # What observers ask for a whole batch: one resource must not cost the others.
    assert desired.topics
    assert desired.consumer_groups
    assert desired.secrets is not None
    judge_relays(desired, [], senders=0)
    _planned(plan(desired, _OBSERVED, START))


def plan_again(data: bytes) -> None:
    """The same of a MailReplay."""
    body = edited(_REPLAY, data)
    _agrees(_REPLAYS, body, lambda stored: DesiredReplay.parse(stored, None))
    ReplayIndex().put(Key("MailReplay", "shop", "again"), body)
    try:
        desired = DesiredReplay.parse(body, _HELD)
    except ValidationError:
        _refused(plan_invalid_replay(body, "spec: wrong", START))
        return
    assert isinstance(desired.job, ChildRef)
    _planned(plan_replay(desired, ObservedReplay(), START))


def _edits() -> list[bytes]:
    """Each part of the manifest once with each kind of value, and nothing changed."""
    return [
        b"",
        *(bytes([0, place, 200, value]) for place in range(0, 120, 3) for value in range(0, 70, 7)),
    ]


TARGETS: Targets = {"mailtopics": (plan_topic, _edits), "mailreplays": (plan_again, _edits)}


def test_the_whole_manifests_are_taken() -> None:
    assert _TOPICS.takes(_TOPIC)
    assert _REPLAYS.takes(_REPLAY)
    assert plan(Desired.parse(_TOPIC, DEFAULTS), _OBSERVED, START).actions
    assert plan_replay(DesiredReplay.parse(_REPLAY, _HELD), ObservedReplay(), START).status


@pytest.mark.timeout(FUZZ_S + 120)
@pytest.mark.parametrize("target", TARGETS)
def test_any_resource_is_planned_or_refused(target: str, figure: Callable[[str], None]) -> None:
    figure(fuzz_target(TARGETS, target))
