"""The operator's senders are those of the chart sender, and of the sender's own settings."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest

from mailtopic_operator.domain.children import wanted_children
from mailtopic_operator.domain.defaults import KafkaAccess, OperatorDefaults, SecretKey
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.observed import Observed
from mailtopic_runtime import load_settings
from mailtopic_sender.relays import parse_relays
from mailtopic_sender.settings import SenderSettings
from support.helm import helm_clients
from support.mailtopic_world import World, spec
from support.requirements import require

CONVERSATION: dict[str, Any] = {
    "mechanisms": ["XOAUTH2"],
    "maxConnections": 3,
    "mailsPerConnection": 20,
    "pipelining": False,
    "ehloName": "mail.example.net",
    "timeouts": {"greetingS": 300, "dotS": 600},
}
RULES = [
    {"match": "no credit left", "class": "quota"},
    {"match": "^5\\.7\\.9 Läden {0,2}zu", "class": "sender", "code": 554, "phase": "body"},
]
SPEC = spec(
    topic={"partitions": 6},
    relays=[
        {
            "name": "ses",
            "host": "smtp.example.net",
            "credentialsSecretRef": {"name": "login"},
            "caSecretRef": {"name": "ca"},
            "rateLimit": "14/s",
        },
        {"name": "backup", "host": "backup.example.net", "port": 465, "security": "TLS"},
        {
            "name": "m365",
            "host": "smtp.office365.com",
            "username": "mailer@example.net",
            "oauth": {
                "tokenUrl": "https://login.example.net/token",
                "clientId": "app",
                "scope": "send",
                "clientSecretRef": {"name": "app", "key": "secret"},
                "refreshTokenRef": {"name": "app", "key": "refresh"},
                "caSecretRef": {"name": "ca"},
            },
            **CONVERSATION,
        },
    ],
    sealing={
        "keysSecretRef": {"name": "keys"},
        "acceptVersion1": False,
        "formerTopics": ["old-mails", "older"],
    },
    dkim={"keysSecretRef": {"name": "dkim"}, "selectors": ["2026a"], "domain": "example.net"},
    delivery={"maxAge": "1h"},
    replies={"rules": RULES},
)
SPEC["from"]["name"] = "Example"
VALUES: dict[str, Any] = {
    "topic": "mails",
    "kafka": {
        "bootstrapServers": "kafka:9093",
        "securityProtocol": "SASL_SSL",
        "username": "sender",
        "existingSecret": "kafka-user",
        "caSecret": {"name": "kafka-ca"},
    },
    "from": {"name": "Example", "address": "noreply@example.net"},
    "relays": [
        {
            "name": "ses",
            "host": "smtp.example.net",
            "username": "somebody",
            "existingSecret": "login",
            "caSecret": {"name": "ca"},
            "ratePerS": 14,
        },
        {"name": "backup", "host": "backup.example.net", "port": 465, "security": "TLS"},
        {
            "name": "m365",
            "host": "smtp.office365.com",
            "username": "mailer@example.net",
            "oauth": {
                "tokenUrl": "https://login.example.net/token",
                "clientId": "app",
                "scope": "send",
                "existingSecret": "app",
                "clientSecretKey": "secret",
                "refreshTokenKey": "refresh",
                "caSecret": {"name": "ca"},
            },
            **CONVERSATION,
        },
    ],
    "sealing": {
        "existingSecret": "keys",
        "acceptVersion1": False,
        "formerTopics": ["old-mails", "older"],
    },
    "dkim": {"existingSecret": "dkim", "selectors": ["2026a"], "domain": "example.net"},
    "replies": {"rules": RULES},
}
OTHERWISE = {"MAILTOPIC_RELAYS", "MAILTOPIC_RELAYS_FILE"}


@pytest.fixture
def desired() -> Desired:
    kafka = KafkaAccess(
        "kafka:9093",
        security_protocol="SASL_SSL",
        username="sender",
        password=SecretKey("kafka-user", "password"),
        ca=SecretKey("kafka-ca", "ca.crt"),
    )
    return World(spec=SPEC, defaults=OperatorDefaults(kafka=kafka)).desired


@pytest.fixture
def ours(desired: Desired) -> dict[str, Any]:
    children = wanted_children(desired, Observed(topics={}))
    return dict(next(child for child in children if child["kind"] == "Deployment"))


@pytest.fixture(scope="module")
def release() -> list[dict[str, Any]]:
    """What the chart renders for as much the same values as there are."""
    if not helm_clients():
        require("charts", "there is no helm: `make cluster` builds it")
    return helm_clients()[-1].template("sender", VALUES)


@pytest.fixture
def charts(release: list[dict[str, Any]]) -> dict[str, Any]:
    return copy.deepcopy(next(each for each in release if each["kind"] == "Deployment"))


def _pod(deployment: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def _env(deployment: dict[str, Any]) -> dict[str, str]:
    (container,) = _pod(deployment)["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_the_pods_differ_in_names_and_in_how_relays_are_written_only(
    ours: dict[str, Any], charts: dict[str, Any]
) -> None:
    for deployment in (ours, charts):
        pod = _pod(deployment)
        del pod["serviceAccountName"]
        for constraint in pod["topologySpreadConstraints"]:
            del constraint["labelSelector"]
        pod["volumes"] = sorted(
            (volume for volume in pod["volumes"] if volume["name"] not in {"relays", "replies"}),
            key=lambda volume: str(volume["name"]),
        )
        (container,) = pod["containers"]
        container["volumeMounts"].sort(key=lambda mount: mount["name"])
        for port in container["ports"]:
            port.setdefault("protocol", "TCP")
        del container["env"]
    (mine,), (theirs,) = _pod(ours).pop("containers"), _pod(charts).pop("containers")
    assert {key: mine[key] for key in mine if mine[key] != theirs.get(key)} == {}
    assert mine.keys() == theirs.keys()
    assert _pod(ours) == _pod(charts)


def test_prometheus_finds_both_in_the_same_way(
    ours: dict[str, Any], charts: dict[str, Any]
) -> None:
    mine, theirs = (each["spec"]["template"]["metadata"] for each in (ours, charts))
    scraping = {
        key: value for key, value in theirs["annotations"].items() if key.startswith("prometheus")
    }
    assert scraping.keys() == {f"prometheus.io/{part}" for part in ("scrape", "port", "path")}
    assert mine["annotations"].items() >= scraping.items()
    component = "app.kubernetes.io/component"
    assert mine["labels"][component] == theirs["labels"][component] == "sender"


def test_the_deployments_are_rolled_in_the_same_way(
    ours: dict[str, Any], charts: dict[str, Any]
) -> None:
    for part in ("strategy", "replicas", "revisionHistoryLimit", "minReadySeconds"):
        assert ours["spec"][part] == charts["spec"][part]


def test_settings_that_both_have_are_equal_and_the_operator_invents_none(
    ours: dict[str, Any], charts: dict[str, Any]
) -> None:
    mine, theirs = _env(ours), _env(charts)
    assert mine.keys() - theirs.keys() - OTHERWISE == set()
    same = mine.keys() & theirs.keys()
    assert {name: mine[name] for name in same} == {name: theirs[name] for name in same}


def test_the_sender_understands_all_of_it(
    desired: Desired, ours: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    rules = tmp_path / "rules.json"
    rules.write_text(_rules(ours))
    for name, value in _env(ours).items():
        files = {
            "MAILTOPIC_KAFKA__PASSWORD_FILE": password,
            "MAILTOPIC_REPLIES__RULES_FILE": rules,
        }
        monkeypatch.setenv(name, str(files.get(name, value)))
    settings = load_settings(SenderSettings, "mailtopic-sender")
    assert settings.names == desired.names
    assert settings.mail_from.name == "Example"
    assert settings.delivery.max_age_s == 3600
    assert settings.topics.partitions == 6
    assert settings.relays is not None
    ses, backup, m365 = parse_relays(settings.relays.get_secret_value())
    assert m365.oauth is not None
    assert m365.timeouts.greeting_s == 300
    assert (ses.name, ses.rate_per_s, backup.port) == ("ses", 14, 465)
    assert [rule.reply_class for rule in settings.replies.rules()] == ["quota", "sender"]
    assert str(ses.username_file) == "/etc/mailtopic/relays/ses/username"


def test_a_relay_is_told_in_the_same_way(
    ours: dict[str, Any], release: list[dict[str, Any]]
) -> None:
    (listed,) = [each for each in release if "relays.json" in each.get("data", {})]
    theirs = json.loads(listed["data"]["relays.json"])
    mine = json.loads(_env(ours)["MAILTOPIC_RELAYS"])
    for entry in (*theirs, *mine):
        # The resource's credentials hold the user's name, too.
        if entry.pop("username_file", None):
            entry["username"] = "somebody"
    assert mine == theirs


def _rules(deployment: dict[str, Any]) -> str:
    """The file that senders find, as the kubelet writes it from the annotation."""
    (volume,) = [each for each in _pod(deployment)["volumes"] if each["name"] == "replies"]
    (item,) = volume["downwardAPI"]["items"]
    (mount,) = [
        each
        for each in _pod(deployment)["containers"][0]["volumeMounts"]
        if each["name"] == "replies"
    ]
    named = _env(deployment)["MAILTOPIC_REPLIES__RULES_FILE"]
    assert f"{mount['mountPath']}/{item['path']}" == named
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    return str(annotations[item["fieldRef"]["fieldPath"].split("'")[1]])


def test_reply_rules_are_told_in_the_same_way(
    ours: dict[str, Any], release: list[dict[str, Any]]
) -> None:
    (listed,) = [each for each in release if "rules.json" in each.get("data", {})]
    assert json.loads(_rules(ours)) == json.loads(listed["data"]["rules.json"]) == RULES


def test_the_same_ports_are_open_to_them(desired: Desired, release: list[dict[str, Any]]) -> None:
    children = wanted_children(desired, Observed(topics={}))
    mine, theirs = (
        next(each for each in objects if each["kind"] == "NetworkPolicy")
        for objects in (children, release)
    )
    assert _open(mine) == _open(theirs) == {53, 5353, 443, 465, 587, 9093}


def _open(policy: Mapping[str, Any]) -> set[int]:
    return {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}


def test_every_file_that_the_relays_name_is_mounted(ours: dict[str, Any]) -> None:
    named = {
        value
        for relay in json.loads(_env(ours)["MAILTOPIC_RELAYS"])
        for settings in (relay, relay.get("oauth", {}))
        for key, value in settings.items()
        if key.endswith("_file")
    }
    (volume,) = [each for each in _pod(ours)["volumes"] if each["name"] == "relays"]
    mounted = {
        f"/etc/mailtopic/relays/{item['path']}"
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    assert named == mounted
