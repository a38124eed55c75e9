"""Which nodes a kind cluster gets: those of kind-config.yaml, or the first of them."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from .errors import ClusterError
from .settings import REPOSITORY

NODES_VARIABLE: Final = "KIND_NODES"
_CONFIG: Final = REPOSITORY / "kind-config.yaml"


def kind_config(environment: Mapping[str, str]) -> str:
    """Return kind's configuration, cut to the number of nodes that KIND_NODES names.

    Raises:
        ClusterError: KIND_NODES is no number of nodes that the file has.
    """
    config: dict[str, Any] = yaml.safe_load(_CONFIG.read_text("utf-8"))
    nodes = config["nodes"]
    wanted = environment.get(NODES_VARIABLE) or str(len(nodes))
    if not wanted.isdecimal() or not 1 <= int(wanted) <= len(nodes):
        raise ClusterError(f"{NODES_VARIABLE} must be a number from 1 to {len(nodes)}")
    return yaml.safe_dump({**config, "nodes": nodes[: int(wanted)]}, sort_keys=False)
