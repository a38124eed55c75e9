"""Wrong values are refused before anything is installed, with the value's name in the message."""

from typing import Any

import pytest

from support.helm import Helm, HelmError

SENDER = {
    "kafka.bootstrapServers": "kafka:9092",
    "smtp": {"host": "smtp.example.com"},
    "from.address": "no-reply@example.com",
    "sealing.existingSecret": "keys",
}
SIGNUP = {"kafka.bootstrapServers": "kafka:9092", "sealing.existingSecret": "keys"}
RELAY = {"name": "first", "host": "smtp.example.com"}
BASES: dict[str, dict[str, Any]] = {"sender": SENDER, "signup": SIGNUP}

Wrong = tuple[str, dict[str, Any], tuple[str, ...]]

# The chart, the values, and what the message must name.
WRONG: list[Wrong] = [
    # Combinations that only the whole of it can see.
    ("mailtopic", {"kafka.enabled": False}, ("global.kafka.bootstrapServers", "host:port")),
    (
        "mailtopic",
        {"global.kafka.bootstrapServers": "kafka:9092"},
        ("global.kafka.bootstrapServers", "kafka.enabled"),
    ),
    ("mailtopic", {"inbox.enabled": False}, ("sender.smtp.host", "inbox.enabled")),
    ("mailtopic", {"inbox.fullnameOverride": "mails"}, ("sender.smtp.host", "fullnameOverride")),
    ("mailtopic", {"inbox.tls.existingSecret": "own"}, ("sender.smtp.host", "tls.existingSecret")),
    ("mailtopic", {"inbox.service.smtpPort": 25}, ("sender.smtp.port", "inbox.service.smtpPort")),
    ("mailtopic", {"kafka.fullnameOverride": "k"}, ("kafka.bootstrapServers", "fullnameOverride")),
    ("mailtopic", {"sender.topic": "others"}, ("sender.topic", "global.mailtopic.topic")),
    ("mailtopic", {"signup.topic": "others"}, ("sender.topic", "global.mailtopic.topic")),
    ("mailtopic", {"sender.sealing.enabled": False}, ("sender.sealing.enabled", "DLQ")),
    ("mailtopic", {"sender.sealing.existingSecret": "k"}, ("sender.sealing.existingSecret",)),
    ("mailtopic", {"signup.replicaCount": 2}, ("replicaCount", "SQLite", "existingSecret")),
    ("mailtopic", {"signup.autoscaling.enabled": True}, ("autoscaling.enabled", "PostgreSQL")),
    (
        "mailtopic",
        {"global.kafka.securityProtocol": "TLS"},
        ("/kafka/securityProtocol", "SASL_SSL"),
    ),
    ("mailtopic", {"global.mailtopic.topics": "mails"}, ("topics",)),
    ("mailtopic", {"global.mailtopic.umbrella": False}, ("umbrella",)),
    ("mailtopic", {"senders.replicaCount": 3}, ("senders",)),
    ("mailtopic", {"sender.replicas": 3}, ("sender", "replicas")),
    (
        "mailtopic",
        {
            "kafka.enabled": False,
            "global.kafka": {"bootstrapServers": "k:9092", "securityProtocol": "SASL_SSL"},
        },
        ("kafka.existingSecret", "SASL_SSL"),
    ),
    ("mailtopic", {"monitoring.dashboards.labels": {"a": 1}}, ("labels",)),
    ("mailtopic", {"monitoring.runbooksUrl": "wiki"}, ("runbooksUrl",)),
    # The sender.
    ("sender", {"dkim.selectors": ["2026a"]}, ("dkim.existingSecret", "<selector>.pem")),
    ("sender", {"dkim.existingSecret": "dkim"}, ("dkim.selectors",)),
    ("sender", {"dkim.domain": "example.com"}, ("dkim.selectors",)),
    ("sender", {"dkim": {"existingSecret": "k", "selectors": ["a/b"]}}, ("/dkim/selectors/0",)),
    ("sender", {"dkim.domain": "192.0.2.1"}, ("/dkim/domain",)),
    ("sender", {"dkim": {"existingSecret": "k", "selectors": ["a", "a"]}}, ("/dkim/selectors",)),
    ("sender", {"smtp.host": ""}, ("smtp.host", "relays")),
    ("sender", {"relays": [RELAY]}, ("relays", "smtp.host")),
    ("sender", {"smtp.host": "", "relays": [RELAY, RELAY]}, ("relays[1].name", "first")),
    ("sender", {"smtp.host": "", "relays": [{"name": "first"}]}, ("/relays/0", "host")),
    (
        "sender",
        {"smtp.host": "", "relays": [{**RELAY, "security": "None"}]},
        ("relays[0].security", "allowInsecure"),
    ),
    ("sender", {"smtp.security": "None"}, ("smtp.security", "allowInsecure")),
    ("sender", {"smtp.security": "SSL"}, ("/smtp/security", "StartTLS")),
    ("sender", {"smtp.username": "mailer"}, ("smtp.existingSecret", "mailer")),
    ("sender", {"smtp.existingSecret": "relay"}, ("smtp.username",)),
    ("sender", {"smtp.port": 65536}, ("/smtp/port", "65,535")),
    ("sender", {"smtp.maxConnections": 0}, ("/smtp/maxConnections",)),
    ("sender", {"smtp.ratePerS": 0}, ("/smtp/ratePerS",)),
    ("sender", {"from.address": ""}, ("from.address",)),
    ("sender", {"from.address": "Example"}, ("/from/address",)),
    ("sender", {"kafka.bootstrapServers": ""}, ("kafka.bootstrapServers",)),
    ("sender", {"kafka.bootstrapServers": "kafka"}, ("/kafka/bootstrapServers",)),
    ("sender", {"kafka.securityProtocol": "SASL_SSL"}, ("kafka.existingSecret",)),
    ("sender", {"sealing.existingSecret": ""}, ("sealing.existingSecret", "sealing.enabled")),
    ("sender", {"delivery.drainTimeoutS": 60}, ("delivery.drainTimeoutS", "rebalanceTimeoutS")),
    ("sender", {"terminationGracePeriodSeconds": 25}, ("terminationGracePeriodSeconds", "drain")),
    ("sender", {"delivery.retryTiers": ["10"]}, ("/delivery/retryTiers/0",)),
    ("sender", {"delivery.retryTiers": []}, ("/delivery/retryTiers",)),
    ("sender", {"delivery.maxAge": 60}, ("/delivery", "maxAge")),
    ("sender", {"delivery.onUnknown": "Drop"}, ("/delivery/onUnknown", "Hold")),
    ("sender", {"topic": "not a topic"}, ("/topic",)),
    ("sender", {"template.files": {"signup.subject": "x"}}, ("/template/files",)),
    (
        "sender",
        {"template": {"files": {"signup.ru.subject": "x"}, "existingConfigMap": "own"}},
        ("template.files", "template.existingConfigMap"),
    ),
    (
        "sender",
        {"autoscaling": {"enabled": True, "maxReplicas": 7}},
        ("autoscaling.maxReplicas", "topics.partitions"),
    ),
    (
        "sender",
        {"autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 2}},
        ("autoscaling.minReplicas", "autoscaling.maxReplicas"),
    ),
    ("sender", {"autoscaling.provider": "VPA"}, ("/autoscaling/provider", "KEDA")),
    ("sender", {"image.digest": "sha256:abc"}, ("/image/digest",)),
    ("sender", {"image.name": "mine"}, ("/image", "name")),
    ("sender", {"resources.memory": "1Gi"}, ("/resources", "memory")),
    ("sender", {"replicaCount": "two"}, ("/replicaCount",)),
    ("sender", {"smtp": {"host": "smtp.example.com", "password": "x"}}, ("/smtp", "password")),
    # The signup service.
    ("signup", {"database.url": "mysql://x/y"}, ("/database/url",)),
    (
        "signup",
        {"database": {"url": "postgresql://x/y", "existingSecret": "z"}},
        ("database.url", "database.existingSecret"),
    ),
    ("signup", {"replicaCount": 2}, ("replicaCount", "SQLite")),
    ("signup", {"httpRoute.enabled": True}, ("httpRoute.parentRefs",)),
    ("signup", {"terminationGracePeriodSeconds": 15}, ("terminationGracePeriodSeconds",)),
    ("signup", {"codes.length": 4}, ("/codes/length", "6")),
    ("signup", {"defaultLocale": "de"}, ("/defaultLocale", "ru")),
    ("signup", {"service.type": "ExternalName"}, ("/service/type",)),
    ("signup", {"pages.inboxUrl": "inbox"}, ("/pages/inboxUrl",)),
    ("signup", {"sealing.existingSecret": ""}, ("sealing.existingSecret",)),
    # A string where Kubernetes wants one; a number or boolean fails at the API server only.
    ("signup", {"podAnnotations": {"example.com/on": True}}, ("/podAnnotations/example.com~1on",)),
    ("sender", {"podLabels": {"tier": 1}}, ("/podLabels/tier", "string")),
    ("sender", {"commonLabels": {"tier": 1}}, ("/commonLabels/tier", "string")),
    ("operator", {"podAnnotations": {"on": True}}, ("/podAnnotations/on", "string")),
    ("operator", {"extraEnv": [{"name": "A", "value": 1}]}, ("/extraEnv/0/value", "string")),
    ("kafka", {"podAnnotations": {"on": True}}, ("/podAnnotations/on", "string")),
    ("kafka", {"extraEnv": [{"name": "A", "value": 1}]}, ("/extraEnv/0/value", "string")),
    ("inbox", {"nodeSelector": {"ssd": True}}, ("/nodeSelector/ssd", "string")),
    # Helm would round it.
    ("kafka", {"config": {"log.retention.bytes": 2**60}}, ("/config/log.retention.bytes",)),
    # The inbox.
    ("inbox", {"service.smtpPort": 0}, ("/service/smtpPort",)),
    ("inbox", {"replicaCount": 2}, ("replicaCount",)),
]


@pytest.mark.parametrize(("chart", "values", "named"), WRONG)
def test_a_wrong_value_is_refused_by_name(
    newest_helm: Helm, chart: str, values: dict[str, Any], named: tuple[str, ...]
) -> None:
    with pytest.raises(HelmError) as error:
        newest_helm.template(chart, BASES.get(chart, {}) | values)
    message = shown(str(error.value))
    assert [name for name in named if name not in message] == []
    # What a person has to read: no template's innards.
    assert len(message) < 400, message
    assert "nil pointer" not in message


def test_the_values_that_the_wrong_ones_stand_beside_are_right(helm: Helm) -> None:
    for chart, values in BASES.items():
        assert helm.template(chart, values)


def test_both_clients_refuse_in_the_same_words(helm: Helm) -> None:
    for values in ({"kafka.enabled": False}, {"sender.replicas": 3}):
        with pytest.raises(HelmError) as error:
            helm.template("mailtopic", values)
        assert next(iter(values)).split(".")[0] in shown(str(error.value))


def shown(text: str) -> str:
    """The message without where in the templates it came from, and what Helm says of links."""
    lines = [line for line in text.splitlines() if line.strip() and "symbolic link" not in line]
    kept = [line for line in lines if not line.startswith(("Error: execution", "Use --debug"))]
    return "\n".join(kept)
