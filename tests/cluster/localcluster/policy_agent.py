"""Keeps the node's packet filter equal to the NetworkPolicies."""

import json
import logging
import socket
import socketserver
import threading
from pathlib import Path

from mailtopic_cli.cluster.programs import output_of

from .api import Api, ApiError
from .pods import PodBook
from .policy import ruleset
from .watching import Watched

_log = logging.getLogger(__name__)


class PolicyAgent:
    """Applies the policies on every change, and before a new pod's network is ready.

    A pod's address is learnt from the gate, a CNI plugin: sooner than the API server knows it, and
    before any of the pod's containers starts.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._changed = threading.Event()
        self._pods = Watched(api, "/api/v1/pods", self._changed.set)
        self._namespaces = Watched(api, "/api/v1/namespaces", self._changed.set)
        self._policies = Watched(
            api, "/apis/networking.k8s.io/v1/networkpolicies", self._changed.set
        )
        self._lock = threading.Lock()
        self._book = PodBook()
        self._applied = ""

    @property
    def watched(self) -> list[Watched]:
        """What must be followed, each in a thread."""
        return [self._pods, self._namespaces, self._policies]

    def keep(self) -> None:
        """Apply after each change, for ever.

        Raises:
            ClusterError: nft refuses the rules.
        """
        while True:
            self._changed.wait()
            self._changed.clear()
            with self._lock:
                self._apply()

    def admit(self, namespace: str, name: str, address: str) -> None:
        """Put the policies of a pod with a new address in force; return when they are.

        Raises:
            ApiError: there is no such pod.
            OSError: the API server can't be reached.
        """
        pod = self._api.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
        with self._lock:
            self._book.admit(pod, address)
            self._apply()

    def _apply(self) -> None:
        namespaces = {
            item["metadata"]["name"]: item["metadata"].get("labels") or {}
            for item in self._namespaces.snapshot()
        }
        pods = self._book.current(self._pods.snapshot())
        text = ruleset(pods, namespaces, self._policies.snapshot())
        if text != self._applied:
            output_of("nft", "-f", "-", text=text)
            self._applied = text
            _log.info("applied a table of %d chains", text.count("chain "))


class GateServer(socketserver.ThreadingUnixStreamServer):
    """Answers the gate: one line of JSON in, "applied" out when the policies are in force."""

    daemon_threads = True

    def __init__(self, path: Path, agent: PolicyAgent) -> None:
        self.agent = agent
        super().__init__(str(path), _GateHandler)


class _GateHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, GateServer)
        pod = json.loads(self.rfile.readline())
        try:
            server.agent.admit(pod["namespace"], pod["name"], pod["address"])
        except (ApiError, OSError) as error:
            # The plugin sees no answer, and the kubelet makes the pod's network anew.
            _log.warning("%s/%s: %s", pod["namespace"], pod["name"], error)
            return
        self.connection.send(b"applied\n", socket.MSG_NOSIGNAL)
