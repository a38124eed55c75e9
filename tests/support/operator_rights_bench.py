"""An operator with the rights of its chart, and what shows that one of them is missing."""

import asyncio
import itertools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailtopic_cli.kafka_node import KafkaNode
from support.api_server import ApiServer
from support.conditions import until
from support.helm import Helm
from support.operator_replays import Replays
from support.operator_rights import Right, Rights
from support.operators import OperatorProcess, Operators

Json = dict[str, Any]

KEDA = "keda.sh"
NAME = "base"
NUMBERS = itertools.count(1)
_SCALED = {"autoscaling": {"provider": "KEDA", "minReplicas": 0}}
# A hand edit of each child, in a field that the operator sets.
EDITS: dict[tuple[str, str], Json] = {
    ("apps", "deployments"): {"spec": {"minReadySeconds": 7}},
    ("", "serviceaccounts"): {"automountServiceAccountToken": True},
    ("policy", "poddisruptionbudgets"): {"spec": {"maxUnavailable": 9}},
    ("networking.k8s.io", "networkpolicies"): {"spec": {"egress": [{}]}},
    (KEDA, "scaledobjects"): {"spec": {"pollingInterval": 99}},
    (KEDA, "triggerauthentications"): {"spec": {"secretTargetRef": []}},
}


def keda_crd(kind: str) -> Json:
    """What the operator needs of KEDA: a place for its objects."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{KEDA}"},
        "spec": {
            "group": KEDA,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }


@dataclass
class Bench:
    """An operator with the rights of its chart, in a namespace of its own."""

    operators: Operators
    rights: Rights

    @classmethod
    def make(cls, directory: Path, server: ApiServer, kafka: KafkaNode, helm: Helm) -> "Bench":
        operators = Operators(directory, server, kafka.bootstrap_servers)
        rights = Rights(server, helm, operators.namespace)
        operators.settings = {
            "MAILTOPIC_OPERATOR__LEASE__NAME": rights.lease,
            "MAILTOPIC_OPERATOR__RECONCILE__RESYNC_S": "3600",
            # Senders log in to a Kafka with TLS, so that KEDA needs a TriggerAuthentication.
            "MAILTOPIC_OPERATOR__SENDER__KAFKA__SECURITY_PROTOCOL": "SSL",
            "MAILTOPIC_OPERATOR__SENDER__KAFKA__CA_SECRET": "kafka-ca",
        }
        operators.kubectl("create", "secret", "generic", "kafka-ca", "--from-literal=ca.crt=x")
        return cls(operators, rights)

    def start(self) -> OperatorProcess:
        user = f"system:serviceaccount:{self.operators.namespace}:operator"
        return self.operators.start(kubeconfig=self.operators.server.kubeconfig_of(user))

    def create(self, name: str, **spec: Any) -> None:
        """Make a MailTopic with every child that there can be."""
        topic = {"name": f"{self.operators.prefix}.{name}", "partitions": 1}
        self.operators.create(name, topic=topic, **{"consumers": _SCALED, **spec})

    def child(self, right: Right, name: str = NAME) -> str:
        return f"{right.resource}{'.' if right.group else ''}{right.group}/{name}-sender"

    def essence(self, right: Right) -> Json | None:
        """Return what a hand edit of a child changes; None if the child isn't there."""
        text = self.operators.kubectl(
            "get", self.child(right), "--ignore-not-found", "--output=json"
        )
        if not text:
            return None
        item = json.loads(text)
        labels, owners = (item["metadata"].get(key) for key in ("labels", "ownerReferences"))
        rest = {key: value for key, value in item.items() if key not in {"metadata", "status"}}
        return {**rest, "labels": labels, "owners": owners}

    def edit(self, right: Right, change: Json) -> None:
        self.operators.kubectl(
            *("patch", self.child(right), "--type=merge", f"--patch={json.dumps(change)}")
        )

    def nudge(self, name: str = NAME) -> None:
        """Have a MailTopic looked at now, and not when its turn comes after a failure."""
        mark = f"tests/nudge={next(NUMBERS)}"
        self.operators.kubectl("annotate", "--overwrite", f"mailtopic/{name}", mark)

    def condition(self, name: str, kind: str) -> str:
        return self.operators.condition(name, kind)[0]

    @property
    def replays(self) -> Replays:
        return Replays(self.operators, Path(os.devnull))

    def close(self) -> None:
        for replica in self.operators.replicas:
            asyncio.run(replica.kill())


def refused(process: OperatorProcess) -> float:
    return process.metric("mailtopic_operator_api_requests_total", code="403")


async def fails(
    bench: Bench, right: Right, provoke: Callable[[], object], is_well: Callable[[], object]
) -> None:
    """See that the operator is refused something and doesn't get there, until it may."""
    process = bench.operators.replicas[-1]
    with bench.rights.without(right):
        before = refused(process)
        provoke()
        await until(lambda: refused(process) > before, f"the operator is refused {right}")
        assert not is_well(), f"all is well without {right}"
