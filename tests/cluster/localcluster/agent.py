"""The node agent: enforces NetworkPolicies and provisions volumes.

python -m localcluster.agent STATE_FOLDER      (a part of the node)
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from .api import Api
from .node_settings import GATE_SOCKET, NodeSettings
from .policy_agent import GateServer, PolicyAgent
from .volume_agent import VolumeAgent


def main(state: str) -> None:
    """Work until the process is killed; the end of any thread is the end of the agent."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = NodeSettings(Path(state))
    api = Api(settings.pki / "agent.kubeconfig")
    policies = PolicyAgent(api)
    volumes = VolumeAgent(api, settings.volumes)
    for watched in (*policies.watched, *volumes.watched):
        _spawn(watched.follow)
    for watched in policies.watched:
        watched.wait_until_listed()
    _spawn(policies.keep)
    _spawn(volumes.keep)
    GateServer(GATE_SOCKET, policies).serve_forever()


def _spawn(work: Callable[[], None]) -> None:
    def run() -> None:
        try:
            work()
        except BaseException:
            # Whatever it is: the node must not go on without this.
            logging.getLogger(__name__).exception("a thread ended")
            os._exit(1)

    threading.Thread(target=run, daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
