"""What the Kafka chart renders, and what it refuses."""

import base64
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.helm import CHARTS, Helm, HelmError, Manifest, containers, find, pod_templates

GOLDEN = Path(__file__).parent / "golden"
CI = CHARTS / "kafka" / "ci"
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"


def properties_of(objects: list[Manifest], name: str = "broker.properties") -> dict[str, str]:
    text = find(objects, "ConfigMap", "mailtopic-kafka-config")["data"][name]
    return dict(line.split("=", 1) for line in text.splitlines() if line)


@pytest.mark.parametrize("case", ["one-node", "three-nodes", "separate-controllers", "secured"])
def test_the_settings_of_kafka_are_the_golden_ones(newest_helm: Helm, case: str) -> None:
    """After a change that is meant: MAILTOPIC_WRITE_GOLDEN=1, and read the difference."""
    objects = newest_helm.template("kafka", files=[CI / f"{case}-values.yaml"])
    config = find(objects, "ConfigMap", "mailtopic-kafka-config")["data"]
    for name in sorted(config):
        if name == "log4j2.properties":
            continue
        golden = GOLDEN / f"kafka-{case}-{name}"
        if os.environ.get("MAILTOPIC_WRITE_GOLDEN"):
            golden.write_text(config[name].lstrip(), "utf-8")
        assert config[name].lstrip() == golden.read_text("utf-8")


@pytest.mark.parametrize(
    ("brokers", "replication", "in_sync"), [(1, "1", "1"), (3, "3", "2"), (5, "3", "2")]
)
def test_copies_follow_from_the_number_of_brokers(
    newest_helm: Helm, brokers: int, replication: str, in_sync: str
) -> None:
    properties = properties_of(newest_helm.template("kafka", {"replicaCount": brokers}))
    for copies in ("default", "offsets.topic", "transaction.state.log"):
        assert properties[f"{copies}.replication.factor"] == replication
    assert properties["min.insync.replicas"] == in_sync
    assert properties["transaction.state.log.min.isr"] == in_sync
    assert properties["controller.quorum.voters"].count("@") == brokers


def test_two_brokers_with_controllers_of_their_own_keep_two_copies(newest_helm: Helm) -> None:
    values = {"replicaCount": 2, "controllers.replicaCount": 3}
    objects = newest_helm.template("kafka", values)
    properties = properties_of(objects)
    assert properties["default.replication.factor"] == "2"
    assert properties["min.insync.replicas"] == "1"
    assert properties["process.roles"] == "broker"
    controllers = properties_of(objects, "controller.properties")
    assert controllers["process.roles"] == "controller"
    assert controllers["node.id"] == "100${env:POD_INDEX}"
    assert find(objects, "StatefulSet", "mailtopic-kafka-controller")["spec"]["replicas"] == 3


def test_settings_of_ones_own_win(newest_helm: Helm) -> None:
    values = {"config": {"min.insync.replicas": 1, "compression.type": "zstd", IDLE: 1000}}
    properties = properties_of(newest_helm.template("kafka", {"replicaCount": 3, **values}))
    assert properties["min.insync.replicas"] == "1"
    assert properties["compression.type"] == "zstd"
    assert properties[IDLE] == "1000"


def test_large_whole_numbers_of_a_values_file_stay_whole(newest_helm: Helm, tmp_path: Path) -> None:
    settings = {"log.retention.bytes": 1073741824, "log.segment.bytes": 2**53, "quota": 0.5}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"config": settings}), "utf-8")
    properties = properties_of(newest_helm.template("kafka", files=[values]))
    assert {name: properties[name] for name in settings} == {
        "log.retention.bytes": "1073741824",
        "log.segment.bytes": "9007199254740992",
        "quota": "0.5",
    }


IDLE = "metadata.max.idle.interval.ms"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"replicaCount": 2}, "replicaCount is 2, but a quorum of an even number"),
    ({"replicaCount": 4}, "use 3 or 5; or give the quorum nodes of its own"),
    ({"controllers.replicaCount": 2}, "controllers.replicaCount is 2, but a quorum"),
    ({"config": {IDLE: 0}}, f"config: {IDLE} is 0, but a node is ready while"),
    ({"config": {IDLE: "5000"}}, f"{IDLE} is 5000, but"),
    ({"replicaCount": 0}, "/replicaCount"),
    ({"replicaCount": "three"}, "/replicaCount"),
    ({"replicas": 3}, "'replicas' not allowed"),
    ({"heapOptions": "1g"}, "/heapOptions"),
    ({"clusterId": "mine"}, "/clusterId"),
    ({"securityProtocol": "TLS"}, "/securityProtocol"),
    ({"saslMechanism": "PLAIN"}, "/saslMechanism"),
    (
        {"securityProtocol": "SASL_SSL", "global.kafka.saslMechanism": "PLAIN"},
        "this Kafka knows SCRAM-SHA-512 and SCRAM-SHA-256",
    ),
    ({"tls.certManager.enabled": True}, "set tls.certManager.issuerRef.name"),
    ({"rack.source": "Zone"}, "/rack/source"),
    ({"persistence.size": "ten"}, "/persistence/size"),
    ({"users.signup.acls": [{"resource": "Topic"}]}, "/users/signup/acls/0"),
    ({"users.Big": {}}, "'Big'"),
    ({"image.digest": "sha256:0"}, "/image/digest"),
    ({"terminationGracePeriodSeconds": 1}, "/terminationGracePeriodSeconds"),
]


@pytest.mark.parametrize(("values", "message"), WRONG, ids=[str(each[0]) for each in WRONG])
def test_a_wrong_value_is_refused_by_its_name(
    newest_helm: Helm, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(HelmError, match=re.escape(message)):
        newest_helm.template("kafka", values)


def test_no_image_needs_a_shell(newest_helm: Helm) -> None:
    objects = newest_helm.template("kafka", files=[CI / "secured-values.yaml"])
    for template in pod_templates(objects).values():
        for container in containers(template):
            assert container["command"][0] == "java"
            assert "args" not in container


def test_probes_ask_the_agent(newest_helm: Helm) -> None:
    objects = newest_helm.template("kafka")
    (container,) = pod_templates(objects)["StatefulSet/mailtopic-kafka"]["spec"]["containers"]
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "readiness", "liveness")
    }
    assert paths == {"startup": "/startupz", "readiness": "/readyz", "liveness": "/livez"}


def test_pods_are_found_before_they_are_ready_and_stop_in_good_order(newest_helm: Helm) -> None:
    objects = newest_helm.template("kafka", {"replicaCount": 3})
    headless = find(objects, "Service", "mailtopic-kafka-headless")["spec"]
    assert headless["publishNotReadyAddresses"] is True
    assert headless["clusterIP"] == "None"
    brokers = find(objects, "StatefulSet", "mailtopic-kafka")["spec"]
    assert brokers["podManagementPolicy"] == "Parallel"
    assert brokers["template"]["spec"]["terminationGracePeriodSeconds"] >= 120


def test_no_password_is_anywhere_but_in_a_secret(newest_helm: Helm) -> None:
    objects = newest_helm.template("kafka", files=[CI / "secured-values.yaml"])
    secrets = [each for each in objects if each["kind"] == "Secret"]
    private = [
        base64.b64decode(value).decode()
        for each in secrets
        for key, value in each["data"].items()
        if key in {"password", "tls.key", "ca.key"}
    ]
    assert len(private) == 5
    rest = str([each for each in objects if each["kind"] != "Secret"])
    assert not any(value in rest for value in private)


def test_a_service_may_do_what_it_needs_and_no_more(newest_helm: Helm) -> None:
    values = {"securityProtocol": "SASL_SSL", "global.mailtopic.topic": "codes"}
    objects = newest_helm.template("kafka", values)
    rules = find(objects, "ConfigMap", "mailtopic-kafka-access")["data"]["rules.txt"]
    assert [line for line in rules.splitlines() if line.startswith("allow signup")] == [
        "allow signup Topic Literal codes Write Describe",
        "allow signup Topic Literal codes.status Read Write Describe",
        "allow signup Group Literal codes.signup Read",
    ]


def test_a_user_that_is_switched_off_is_taken_away(newest_helm: Helm) -> None:
    values = {"securityProtocol": "SASL_SSL", "users.operator.enabled": False}
    objects = newest_helm.template("kafka", values)
    rules = find(objects, "ConfigMap", "mailtopic-kafka-access")["data"]["rules.txt"]
    assert "absent operator" in rules
    assert "allow operator" not in rules
    names = {each["metadata"]["name"] for each in objects if each["kind"] == "Secret"}
    assert "mailtopic-kafka-user-operator" not in names


def test_the_job_that_sets_up_users_is_called_after_what_it_does(newest_helm: Helm) -> None:
    existing = {f"users.{name}.existingSecret": "mine" for name in ("signup", "sender", "operator")}
    values = {"securityProtocol": "SASL_SSL", "tls.existingSecret": "mine", **existing}

    def job(**more: Any) -> str:
        rendered = newest_helm.template("kafka", {**values, **more})
        names = [each["metadata"]["name"] for each in rendered if each["kind"] == "Job"]
        assert len(names) == 1
        return str(names[0])

    assert job() == job()
    assert job(topic="codes") != job()
    assert job(replicaCount=3) == job()


def test_the_rack_is_read_with_the_right_to_get_nodes_and_nothing_else(newest_helm: Helm) -> None:
    objects = newest_helm.template("kafka", {"rack.source": "Node"})
    role = find(objects, "ClusterRole", "mail-mailtopic-kafka")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]
    kinds = {each["kind"] for each in newest_helm.template("kafka", {"rack.source": "PodLabel"})}
    assert "ClusterRole" not in kinds


def test_certificates_can_come_from_cert_manager(newest_helm: Helm) -> None:
    values = {"tls.certManager.enabled": True, "tls.certManager.issuerRef.name": "ours"}
    objects = newest_helm.template("kafka", {"securityProtocol": "SSL", **values})
    certificate = find(objects, "Certificate", "mailtopic-kafka")["spec"]
    assert certificate["secretName"] == "mailtopic-kafka-ca"
    assert certificate["commonName"] == "mailtopic-kafka"
    assert "*.mailtopic-kafka-headless.mail.svc.cluster.local" in certificate["dnsNames"]
    assert not [each for each in objects if each["kind"] == "Secret"]
