"""The senders' settings, from a MailTopic: names as in mailtopic_sender.settings."""

from collections.abc import Mapping
from typing import Any, Final

from mailtopic_operator.domain.children.relay_files import relays_setting
from mailtopic_operator.domain.children.reply_rules import RULES_FILE
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.model.base import duration_s
from mailtopic_operator.model.mailtopic_spec import Sealing

DRAIN_TIMEOUT_S: Final = 25
"""Seconds that mails in flight may take when a sender stops."""

KAFKA_DIRECTORY: Final = "/etc/mailtopic/kafka"
DKIM_DIRECTORY: Final = "/etc/mailtopic/dkim"
SEALING_DIRECTORY: Final = "/etc/mailtopic/sealing"
TEMPLATE_DIRECTORY: Final = "/etc/mailtopic/templates"
METRICS_PORT: Final = 9100


def replay_env(desired: Desired) -> list[dict[str, Any]]:
    """Return the env of a replay: the same Kafka, topic and ages."""
    settings = {
        "TOPIC": desired.names.main,
        **_kafka(desired),
        "DELIVERY__MAX_AGE_S": str(duration_s(desired.spec.delivery.max_age)),
    }
    return _env(settings)


def _env(settings: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": f"MAILTOPIC_{name}", "value": value} for name, value in settings.items()]


def sender_env(desired: Desired) -> list[dict[str, Any]]:
    """Return the env of the container; it holds no secrets."""
    settings = {
        "TOPIC": desired.names.main,
        **_kafka(desired),
        **_mails(desired),
        **_signing(desired),
        **_delivery(desired),
        "TOPICS__PARTITIONS": str(desired.spec.topic.partitions),
        "TOPICS__REPLICATION": str(desired.spec.topic.replication_factor or -1),
        "LOG__LEVEL": desired.defaults.sender.log_level,
        **_tracing(desired),
        "METRICS__HOST": "0.0.0.0",  # noqa: S104 (the pod's own address)
        "METRICS__PORT": str(METRICS_PORT),
    }
    return _env(settings)


def _kafka(desired: Desired) -> Mapping[str, str]:
    kafka = desired.kafka
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA__SECURITY_PROTOCOL": kafka.security_protocol,
    }
    if kafka.has_sasl and kafka.username is not None:
        settings["KAFKA__SASL_MECHANISM"] = kafka.sasl_mechanism
        settings["KAFKA__USERNAME"] = kafka.username
        settings["KAFKA__PASSWORD_FILE"] = f"{KAFKA_DIRECTORY}/password"
    if kafka.ca is not None:
        settings["KAFKA__CA_FILE"] = f"{KAFKA_DIRECTORY}/ca.crt"
    return settings


def _mails(desired: Desired) -> Mapping[str, str]:
    spec = desired.spec
    settings = {
        "FROM__ADDRESS": spec.from_.address,
        "RELAYS": relays_setting(desired),
        "TEMPLATE__DEFAULT_LOCALE": spec.template.default_locale,
    }
    # The API server drops an empty value, so every comparison would find a difference.
    if spec.from_.name:
        settings["FROM__NAME"] = spec.from_.name
    if spec.template.config_map_ref is not None:
        settings["TEMPLATE__DIRECTORY"] = TEMPLATE_DIRECTORY
    if spec.replies.rules:
        settings["REPLIES__RULES_FILE"] = RULES_FILE
    if spec.sealing is not None:
        settings |= _sealing(spec.sealing)
    return settings


def _sealing(sealing: Sealing) -> Mapping[str, str]:
    settings = {
        "SEALING__KEYS_FILE": f"{SEALING_DIRECTORY}/keys.json",
        "SEALING__ACCEPT_VERSION1": str(sealing.accept_version1).lower(),
    }
    if sealing.former_topics:
        settings["SEALING__FORMER_TOPICS"] = ",".join(sealing.former_topics)
    return settings


def _signing(desired: Desired) -> Mapping[str, str]:
    dkim = desired.spec.dkim
    if dkim is None:
        return {}
    settings = {
        "DKIM__SELECTORS": ",".join(dkim.selectors),
        "DKIM__KEYS_DIRECTORY": DKIM_DIRECTORY,
    }
    return settings if dkim.domain is None else {**settings, "DKIM__DOMAIN": dkim.domain}


def _tracing(desired: Desired) -> Mapping[str, str]:
    sender = desired.defaults.sender
    if sender.tracing_endpoint is None:
        return {}
    return {
        "TRACING__ENDPOINT": sender.tracing_endpoint,
        "TRACING__SAMPLE_RATIO": str(sender.tracing_sample_ratio),
    }


def _delivery(desired: Desired) -> Mapping[str, str]:
    delivery = desired.spec.delivery
    return {
        "DELIVERY__MAX_AGE_S": str(duration_s(delivery.max_age)),
        "DELIVERY__RETRY_TIERS": ",".join(delivery.retry_tiers),
        "DELIVERY__ON_UNKNOWN": delivery.on_unknown.value,
        "DELIVERY__MAX_IN_FLIGHT": str(delivery.max_in_flight),
        "DELIVERY__DRAIN_TIMEOUT_S": str(DRAIN_TIMEOUT_S),
    }
