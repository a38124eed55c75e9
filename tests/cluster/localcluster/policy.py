"""NetworkPolicies as one nftables table: a pure function from what the API says.

Semantics: the NetworkPolicy v1 API reference (networking.k8s.io/v1). A pod that no policy selects
is open; one that is selected lets through what any of its policies allows. Never restricted: the
node itself (the kubelet's probes), a pod's traffic to itself, answers on open connections.
Not done: IPv6, of which the bridge passes nothing at all, and SCTP.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Network = ipaddress.IPv4Network

_TABLE = "mailtopic_policies"
# Just before kube-proxy's filter chains, which accept what they know and so could end the matter.
_PRIORITY = -5
_PROTOCOLS = ("TCP", "UDP")


@dataclass(frozen=True)
class NamedPort:
    """A port of a container that has a name."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True)
class Pod:
    """What policies look at in a pod with an address of its own."""

    namespace: str
    name: str
    address: str
    labels: dict[str, str] = field(default_factory=dict)
    ports: tuple[NamedPort, ...] = ()


@dataclass(frozen=True)
class _Way:
    """One of the two directions, and the words that go with it."""

    type: str
    rules_key: str
    peers_key: str
    own_field: str
    peer_field: str


_INGRESS = _Way("Ingress", "ingress", "from", "daddr", "saddr")
_EGRESS = _Way("Egress", "egress", "to", "saddr", "daddr")


@dataclass(frozen=True)
class _World:
    pods: list[Pod]
    namespaces: dict[str, dict[str, str]]


def ruleset(
    pods: Iterable[Pod], namespaces: dict[str, dict[str, str]], policies: list[dict[str, Any]]
) -> str:
    """Return input for `nft -f` that replaces the table in one transaction.

    Args:
        pods: the pods with an address of their own that have not ended.
        namespaces: the labels of each namespace.
        policies: NetworkPolicies as the API gives them.
    """
    world = _World(sorted(pods, key=lambda pod: (pod.namespace, pod.name)), namespaces)
    chains: list[str] = []
    jumps: dict[_Way, list[str]] = {_INGRESS: [], _EGRESS: []}
    for pod in world.pods:
        own = [
            policy["spec"]
            for policy in policies
            if policy["metadata"]["namespace"] == pod.namespace
            and selects(policy["spec"].get("podSelector") or {}, pod.labels)
        ]
        for way in (_INGRESS, _EGRESS):
            specs = [spec for spec in own if way.type in _types(spec)]
            if specs:
                name = f"{way.rules_key}_{pod.address.replace('.', '_')}"
                chains.append(_chain(name, way, pod, specs, world))
                jumps[way].append(f"{pod.address} : jump {name}")
    return _table(chains, jumps)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector selects; an empty one selects everything."""
    wanted = (selector.get("matchLabels") or {}).items()
    if any(labels.get(key) != value for key, value in wanted):
        return False
    return all(_holds(item, labels) for item in selector.get("matchExpressions") or [])


def _holds(expression: dict[str, Any], labels: dict[str, str]) -> bool:
    key, operator = expression["key"], expression["operator"]
    values = expression.get("values") or []
    match operator:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise ValueError(f"unknown operator {operator!r} in a label selector")


def _types(spec: dict[str, Any]) -> list[str]:
    """The API server fills policyTypes in; this is its default for what was stored without."""
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]


def _chain(name: str, way: _Way, pod: Pod, specs: list[dict[str, Any]], world: _World) -> str:
    rules = [f"ip {way.peer_field} {pod.address} return"]
    for spec in specs:
        for rule in spec.get(way.rules_key) or []:
            rules += _rules(way, pod, rule, world)
    body = "\n".join(f"    {rule}" for rule in dict.fromkeys([*rules, "counter drop"]))
    return f"  chain {name} {{\n{body}\n  }}"


def _rules(way: _Way, pod: Pod, rule: dict[str, Any], world: _World) -> Iterator[str]:
    peers = rule.get(way.peers_key)
    networks = None if not peers else _networks(pod.namespace, peers, world)
    ports = rule.get("ports")
    if not ports:
        yield from _allow(way, networks, "")
        return
    for port in ports:
        yield from _rules_of_port(way, pod, networks, port, world)


def _rules_of_port(
    way: _Way, pod: Pod, networks: list[Network] | None, port: dict[str, Any], world: _World
) -> Iterator[str]:
    protocol = port.get("protocol") or "TCP"
    number = port.get("port")
    if protocol not in _PROTOCOLS:
        return
    if number is None:
        yield from _allow(way, networks, f"meta l4proto {protocol.lower()} ")
    elif isinstance(number, int):
        last = f"-{port['endPort']}" if port.get("endPort") else ""
        yield from _allow(way, networks, f"{protocol.lower()} dport {number}{last} ")
    else:
        # A name means the port that the receiving pod gives it: another one for each pod.
        receivers = [pod] if way is _INGRESS else _inside(networks, world.pods)
        for receiver in receivers:
            for own in receiver.ports:
                if (own.name, own.protocol) == (number, protocol):
                    target = networks if way is _INGRESS else [Network(receiver.address)]
                    yield from _allow(way, target, f"{protocol.lower()} dport {own.number} ")


def _allow(way: _Way, networks: list[Network] | None, condition: str) -> Iterator[str]:
    if networks is None:
        yield f"{condition}return"
    elif networks:
        listed = ", ".join(_element(network) for network in networks)
        yield f"ip {way.peer_field} {{ {listed} }} {condition}return"


def _networks(namespace: str, peers: list[dict[str, Any]], world: _World) -> list[Network]:
    found: list[Network] = []
    for peer in peers:
        if block := peer.get("ipBlock"):
            found += _without(block["cidr"], block.get("except") or [])
        else:
            found += [
                Network(pod.address)
                for pod in world.pods
                if _is_peer(namespace, peer, pod, world.namespaces)
            ]
    # One set may not hold two networks of which one lies within the other.
    return list(ipaddress.collapse_addresses(found))


def _is_peer(
    namespace: str, peer: dict[str, Any], pod: Pod, namespaces: dict[str, dict[str, str]]
) -> bool:
    if (selector := peer.get("namespaceSelector")) is None:
        in_scope = pod.namespace == namespace
    else:
        in_scope = selects(selector, namespaces.get(pod.namespace, {}))
    return in_scope and selects(peer.get("podSelector") or {}, pod.labels)


def _without(cidr: str, exceptions: list[str]) -> list[Network]:
    if ":" in cidr:
        return []
    left = [Network(cidr, strict=False)]
    for exception in exceptions:
        hole = Network(exception, strict=False)
        left = [
            part
            for network in left
            for part in (network.address_exclude(hole) if hole.subnet_of(network) else [network])
            if not part.subnet_of(hole)
        ]
    return left


def _inside(networks: list[Network] | None, pods: list[Pod]) -> list[Pod]:
    if networks is None:
        return pods
    return [
        pod for pod in pods if any(Network(pod.address).subnet_of(network) for network in networks)
    ]


def _element(network: Network) -> str:
    return (
        str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
    )


def _table(chains: list[str], jumps: dict[_Way, list[str]]) -> str:
    leaving = _jump(_EGRESS, jumps[_EGRESS])
    hooks = [
        _hook("forward", ["meta nfproto ipv6 drop", *leaving, *_jump(_INGRESS, jumps[_INGRESS])]),
        # What a pod sends to the node's own address, where the API server listens.
        _hook("input", ['iifname "cni0" meta nfproto ipv6 drop', *leaving]),
    ]
    body = "\n".join([*chains, *hooks])
    # To delete a table that may be absent: make sure of it first.
    return f"table inet {_TABLE}\ndelete table inet {_TABLE}\ntable inet {_TABLE} {{\n{body}\n}}\n"


def _jump(way: _Way, jumps: list[str]) -> list[str]:
    return [f"ip {way.own_field} vmap {{ {', '.join(jumps)} }}"] if jumps else []


def _hook(name: str, rules: list[str]) -> str:
    lines = [
        f"type filter hook {name} priority {_PRIORITY}; policy accept;",
        "ct state established,related accept",
        *rules,
    ]
    body = "\n".join(f"    {line}" for line in lines)
    return f"  chain {name} {{\n{body}\n  }}"
