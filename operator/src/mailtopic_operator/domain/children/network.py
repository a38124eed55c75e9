"""The traffic that senders are allowed."""

from typing import Any, Final
from urllib.parse import urlsplit

from mailtopic_operator.domain.children.common import child, selector
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.model.relay_logins import OAuth

_DNS: Final = [
    {"port": port, "protocol": protocol} for port in (53, 5353) for protocol in ("UDP", "TCP")
]
"""A policy applies to the port of the DNS pods, not of their Service: 5353 on OpenShift."""


def network_policy(desired: Desired) -> dict[str, Any]:
    """Return a policy: metrics in; DNS, Kafka and the relays out."""
    servers = desired.kafka.bootstrap_servers.split(",")
    kafka = [int(server.rpartition(":")[2]) for server in servers]
    relays = [relay.port for relay in desired.spec.relays]
    relays += [_token_port(relay.oauth) for relay in desired.spec.relays if relay.oauth is not None]
    spec = {
        "podSelector": {"matchLabels": selector(desired)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"namespaceSelector": {}}],
                "ports": [{"port": "metrics", "protocol": "TCP"}],
            }
        ],
        # The addresses of DNS, brokers, relays and collectors are unknown: only ports are fixed.
        "egress": [
            {"ports": _DNS},
            {"ports": _tcp(kafka)},
            {"ports": _tcp(relays)},
            *_collector(desired.defaults.sender.tracing_endpoint),
        ],
    }
    return child("networking.k8s.io/v1", "NetworkPolicy", desired, spec=spec)


def _collector(endpoint: str | None) -> list[dict[str, Any]]:
    if endpoint is None:
        return []
    url = urlsplit(endpoint)
    return [{"ports": _tcp([url.port or (443 if url.scheme == "https" else 80)])}]


def _token_port(oauth: OAuth) -> int:
    """The token endpoint's port; for a service account's key, Google's."""
    return urlsplit(oauth.token_url or "").port or 443


def _tcp(ports: list[int]) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": "TCP"} for port in sorted(set(ports))]
