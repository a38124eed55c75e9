"""Secrets and ConfigMaps that the senders need: by reference, their values are never copied."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.findings import Finding, good
from mailtopic_operator.domain.observed import USE_LABEL, DataObject, Observed
from mailtopic_operator.model.relay_logins import OAuth

RELAY: Final = "relay"
CA: Final = "ca"
SEALING: Final = "sealing"
DKIM: Final = "dkim"


@dataclass(frozen=True, slots=True)
class Need:
    """A key of a Secret, and the field that refers to it.

    Attributes:
        use: what the Secret's label must allow; None if the operator's settings name the Secret.
    """

    secret: str
    key: str
    field: str
    use: str | None = None


def needs(desired: Desired) -> Iterator[Need]:
    """Yield every key of a Secret that the senders need."""
    for relay in desired.spec.relays:
        where = f"relay {relay.name}"
        login, ca = relay.credentials_secret_ref, relay.ca_secret_ref
        if login is not None:
            yield Need(login.name, login.username_key, f"{where}: credentialsSecretRef", RELAY)
            yield Need(login.name, login.password_key, f"{where}: credentialsSecretRef", RELAY)
        if ca is not None:
            yield Need(ca.name, ca.key, f"{where}: caSecretRef", CA)
        if relay.oauth is not None:
            yield from _oauth_needs(relay.oauth, f"{where}: oauth")
    if desired.spec.sealing is not None:
        keys = desired.spec.sealing.keys_secret_ref
        yield Need(keys.name, keys.key, "sealing.keysSecretRef", SEALING)
    if desired.spec.dkim is not None:
        signing = desired.spec.dkim.keys_secret_ref
        for selector in desired.spec.dkim.selectors:
            yield Need(signing.name, f"{selector}.pem", "dkim.keysSecretRef", DKIM)
    kafka = desired.kafka
    # One that the operator makes itself is waited for: see KafkaUserReady.
    if kafka.password is not None and desired.kafka_user is None:
        yield Need(kafka.password.name, kafka.password.key, "the senders' Kafka password")
    if kafka.ca is not None:
        yield Need(kafka.ca.name, kafka.ca.key, "the brokers' authorities")


def _oauth_needs(oauth: OAuth, where: str) -> Iterator[Need]:
    for field, ref in oauth.secret_refs.items():
        yield Need(ref.name, ref.key, f"{where}.{field}", RELAY)
    if oauth.ca_secret_ref is not None:
        yield Need(oauth.ca_secret_ref.name, oauth.ca_secret_ref.key, f"{where}.caSecretRef", CA)


def judge_credentials(desired: Desired, observed: Observed) -> Finding:
    """Return the finding for CredentialsValid.

    Whether a login is correct shows only at the relay: see RelayHealthy.
    """
    for need in needs(desired):
        secret = observed.secrets.get(need.secret)
        if secret is None:
            message = f"{need.field}: Secret {need.secret} is not in namespace"
            return Finding("False", "SecretNotFound", f"{message} {desired.meta.namespace}")
        if not _is_allowed(desired, need, secret):
            message = (
                f"{need.field}: Secret {need.secret} is not released for this:"
                f" kubectl -n {desired.meta.namespace} label secret {need.secret}"
                f" {USE_LABEL}={need.use}, or name it in operator.secrets.allowed"
            )
            return Finding("False", "SecretNotAllowed", message)
        if need.key not in secret.keys:
            message = f"{need.field}: Secret {need.secret} has no key {need.key}"
            return Finding("False", "SecretKeyNotFound", message)
    for name in desired.config_maps:
        if name not in observed.config_maps:
            message = f"template.configMapRef: ConfigMap {name} is not in namespace"
            return Finding("False", "ConfigMapNotFound", f"{message} {desired.meta.namespace}")
    return good("Found", "every Secret and ConfigMap is there")


def _is_allowed(desired: Desired, need: Need, secret: DataObject) -> bool:
    allowed = desired.defaults.border.secrets
    return need.use in {None, secret.use} or need.secret in allowed or "*" in allowed


def _version(desired: Desired, name: str, found: DataObject) -> str:
    password = desired.kafka.password
    if desired.kafka_user is not None and password is not None and password.name == name:
        # Passwords of former users come and go in the same Secret.
        return found.versions.get(password.key, "")
    return found.version


def checksum(desired: Desired, observed: Observed) -> str:
    """Return a digest that changes with the Secrets and ConfigMaps; the senders roll then."""
    digest = hashlib.sha256()
    for kind, names, objects in (
        ("Secret", desired.secrets, observed.secrets),
        ("ConfigMap", desired.config_maps, observed.config_maps),
    ):
        for name in names:
            version = _version(desired, name, objects[name]) if name in objects else ""
            digest.update(f"{kind}/{name}={version}\n".encode())
    return digest.hexdigest()[:16]
