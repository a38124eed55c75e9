"""NetworkPolicies hold: shown by attempts that fail."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from localcluster.client import ClusterClient
from localcluster.policy import NamedPort, Pod, ruleset
from mailtopic_cli.cluster.errors import ClientError
from mailtopic_cli.cluster.programs import run

pytestmark = pytest.mark.usefixtures("one_node")


@dataclass(frozen=True)
class Bench:
    """A server in one namespace; clients there and in another."""

    cluster: ClusterClient
    image: str
    home: str
    abroad: str

    def pod(
        self,
        name: str,
        *command: str,
        namespace: str,
        labels: dict[str, str] | None = None,
        spec: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        container = {
            "name": "probe",
            "image": self.image,
            "command": ["/probe", *command],
            "ports": [{"name": "http", "containerPort": 8080}] if command[0] == "serve" else [],
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **(spec or {})},
        }

    def policy(self, name: str, **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": self.home},
            "spec": {"podSelector": {}, **spec},
        }

    def reaches(self, pod: str, *attempt: str, namespace: str | None = None) -> bool:
        try:
            self.cluster.execute(pod, "/probe", *attempt, namespace=namespace or self.home)
        except ClientError as error:
            if "probe:" not in str(error):
                raise
            return False
        return True

    def any_gets_through(self, *attempts: tuple[str, ...]) -> bool:
        """Make attempts beside each other: each that fails takes its whole timeout."""
        with ThreadPoolExecutor() as pool:
            made = [
                pool.submit(self.reaches, pod, *attempt, namespace=namespace)
                for namespace, pod, *attempt in attempts
            ]
            return any(attempt.result() for attempt in made)

    def runs_to_its_end(self, pod: str) -> str:
        def phase() -> str:
            found = self.cluster.get(f"pod/{pod}", namespace=self.home)
            return str(found["status"]["phase"])

        self.cluster.until(lambda: phase() in {"Succeeded", "Failed"}, f"{pod} ends")
        return phase()


@pytest.fixture(scope="module")
def bench(cluster: ClusterClient, probe_image: str) -> Iterator[Bench]:
    with ExitStack() as stack:
        home = stack.enter_context(cluster.namespace("np-home"))
        abroad = stack.enter_context(cluster.namespace("np-abroad", team="friends"))
        bench = Bench(cluster, probe_image, home, abroad)
        probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
        server = bench.pod("server", "serve", "8080", "9090", namespace=home, labels={"app": "web"})
        server["spec"]["containers"][0] |= {"readinessProbe": probe, "livenessProbe": probe}
        ports = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "b", "port": 9090}]
        cluster.apply(
            server,
            bench.pod("echo", "echo", ":5000", namespace=home, labels={"app": "echo"}),
            bench.pod("friend", "idle", namespace=home, labels={"role": "friend"}),
            bench.pod("stranger", "idle", namespace=home),
            bench.pod("friend", "idle", namespace=abroad, labels={"role": "friend"}),
            bench.pod("stranger", "idle", namespace=abroad),
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web", "namespace": home},
                "spec": {"selector": {"app": "web"}, "ports": ports},
            },
        )
        for namespace, pods in (
            (home, ("server", "echo", "friend", "stranger")),
            (abroad, ("friend", "stranger")),
        ):
            for pod in pods:
                cluster.wait(f"pod/{pod}", "condition=Ready", namespace=namespace)
        yield bench


@pytest.fixture(autouse=True)
def _no_policies_are_left(bench: Bench) -> Iterator[None]:
    yield
    bench.cluster.kubectl("delete", "networkpolicies", "--all", "--namespace", bench.home)
    bench.cluster.until(
        lambda: bench.reaches("stranger", "get", bench_url(bench)), "the namespace is open again"
    )


def test_the_packet_filter_takes_every_rule_that_we_write(cluster: ClusterClient) -> None:
    """In a network namespace of its own, where nothing is changed."""
    assert cluster.kubeconfig.exists()
    named = (NamedPort("http", "TCP", 80), NamedPort("dns", "UDP", 53))
    pods = [Pod("n", f"p{i}", f"10.244.0.{i}", {"i": str(i)}, named) for i in range(2, 40)]
    peers: list[dict[str, Any]] = [
        {"podSelector": {}},
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "192.168.1.1/32"]}},
        {"ipBlock": {"cidr": "10.1.2.3/32"}},
    ]
    ports: list[dict[str, Any]] = [
        {"port": "http"},
        {"port": "dns", "protocol": "UDP"},
        {"port": 1, "endPort": 65535},
        {"protocol": "UDP"},
        {},
    ]
    specs: list[dict[str, Any]] = [
        {"policyTypes": ["Ingress", "Egress"]},
        {"ingress": [{}], "egress": [{}]},
        {
            "ingress": [{"from": peers, "ports": ports}, {"from": peers}, {"ports": ports}],
            "egress": [{"to": peers, "ports": ports}, {"to": peers}, {"ports": ports}],
        },
    ]
    policies = [
        {"metadata": {"namespace": "n", "name": "p"}, "spec": {"podSelector": {}, **spec}}
        for spec in specs
    ]
    text = ruleset(pods, {"n": {}}, policies)
    checked = run("unshare", "--net", "nft", "--check", "--file", "-", text=text)
    assert (checked.returncode, checked.stderr) == (0, "")


def bench_url(bench: Bench, port: int = 80) -> str:
    return f"http://web.{bench.home}.svc.cluster.local:{port}/"


def address_of(bench: Bench, pod: str) -> str:
    found = bench.cluster.get(f"pod/{pod}", namespace=bench.home)
    return str(found["status"]["podIP"])


def test_without_a_policy_everybody_gets_through(bench: Bench) -> None:
    assert bench.reaches("stranger", "get", bench_url(bench))
    assert bench.reaches("stranger", "get", bench_url(bench), namespace=bench.abroad)


def test_only_the_admitted_pods_reach_the_named_port(bench: Bench) -> None:
    friends = [
        {"podSelector": {"matchLabels": {"role": "friend"}}},
        {
            "namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]},
            "podSelector": {"matchLabels": {"role": "friend"}},
        },
    ]
    bench.cluster.apply(
        bench.policy("deny", policyTypes=["Ingress"]),
        bench.policy(
            "friends",
            podSelector={"matchLabels": {"app": "web"}},
            policyTypes=["Ingress"],
            ingress=[{"from": friends, "ports": [{"port": "http"}]}],
        ),
    )
    bench.cluster.until(
        lambda: not bench.reaches("stranger", "get", bench_url(bench)), "strangers are kept out"
    )
    assert bench.reaches("friend", "get", bench_url(bench))
    assert bench.reaches("friend", "get", bench_url(bench), namespace=bench.abroad)
    assert bench.reaches("friend", "get", f"http://{address_of(bench, 'server')}:8080/")
    assert not bench.any_gets_through(
        (bench.home, "stranger", "get", f"http://{address_of(bench, 'server')}:8080/"),
        (bench.abroad, "stranger", "get", bench_url(bench)),
        (bench.home, "friend", "get", bench_url(bench, 9090)),
        (bench.abroad, "friend", "get", bench_url(bench, 9090)),
    )
    # The kubelet's probes come from the node, which no policy keeps out.
    server = bench.cluster.get("pod/server", namespace=bench.home)["status"]
    assert server["containerStatuses"][0]["restartCount"] == 0
    bench.cluster.wait("pod/server", "condition=Ready", namespace=bench.home, timeout_s=5)


def test_a_pod_that_gets_the_label_is_let_through(bench: Bench) -> None:
    rule = {"from": [{"podSelector": {"matchLabels": {"role": "guest"}}}]}
    bench.cluster.apply(bench.policy("guests", policyTypes=["Ingress"], ingress=[rule]))
    bench.cluster.until(
        lambda: not bench.reaches("stranger", "get", bench_url(bench)), "strangers are kept out"
    )
    bench.cluster.kubectl("label", "pod", "stranger", "role=guest", "--namespace", bench.home)
    bench.cluster.until(
        lambda: bench.reaches("stranger", "get", bench_url(bench)), "the guest is let through"
    )
    bench.cluster.kubectl("label", "pod", "stranger", "role-", "--namespace", bench.home)


def test_what_leaves_is_limited_by_address_port_and_protocol(bench: Bench) -> None:
    server, echo = address_of(bench, "server"), address_of(bench, "echo")
    to_server = {
        "to": [{"ipBlock": {"cidr": "10.244.0.0/16", "except": [f"{echo}/32"]}}],
        "ports": [{"protocol": "TCP", "port": 8080, "endPort": 8090}],
    }
    bench.cluster.apply(bench.policy("out", policyTypes=["Egress"], egress=[to_server]))
    bench.cluster.until(
        lambda: not bench.reaches("friend", "send", "udp", f"{echo}:5000"), "UDP is kept in"
    )
    assert bench.reaches("friend", "get", f"http://{server}:8080/")
    # Neither DNS nor the API server, which listens on the node itself.
    assert not bench.any_gets_through(
        (bench.home, "friend", "get", f"http://{server}:9090/"),
        (bench.home, "friend", "get", bench_url(bench)),
        (bench.home, "friend", "send", "tcp", "10.96.0.1:443"),
    )

    to_echo = {
        "to": [{"podSelector": {"matchLabels": {"app": "echo"}}}],
        "ports": [{"protocol": "UDP", "port": 5000}],
    }
    bench.cluster.apply(bench.policy("echo", policyTypes=["Egress"], egress=[to_echo]))
    bench.cluster.until(
        lambda: bench.reaches("friend", "send", "udp", f"{echo}:5000"), "UDP is let out"
    )


def test_a_new_pod_is_never_open_and_never_kept_out_by_mistake(bench: Bench) -> None:
    server, echo = address_of(bench, "server"), address_of(bench, "echo")
    friends = {"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}]}
    bench.cluster.apply(
        bench.policy(
            "friends",
            podSelector={"matchLabels": {"app": "echo"}},
            policyTypes=["Ingress"],
            ingress=[friends],
        ),
        bench.policy(
            "prison", podSelector={"matchLabels": {"role": "prisoner"}}, policyTypes=["Egress"]
        ),
    )
    bench.cluster.until(
        lambda: not bench.reaches("stranger", "send", "udp", f"{echo}:5000"),
        "strangers are kept out",
    )
    never = {"restartPolicy": "Never"}
    start = partial(bench.pod, namespace=bench.home, spec=never)
    bench.cluster.apply(
        # It tries from its first moment on; a single answer would end it well.
        start("prisoner", "get", f"http://{server}:8080/", "3", labels={"role": "prisoner"}),
        # It sends one packet, which nothing repeats, and has to be answered.
        start("early", "send", "udp", f"{echo}:5000", labels={"role": "friend"}),
    )
    assert bench.runs_to_its_end("early") == "Succeeded"
    assert bench.runs_to_its_end("prisoner") == "Failed"
