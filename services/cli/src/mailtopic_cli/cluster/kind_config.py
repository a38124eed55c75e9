"""Which nodes a kind cluster gets: those of kind-config.yaml, or the first of them."""

import re
from collections.abc import Mapping
from typing import Final

from .errors import ClusterError
from .settings import KIND_CONFIG

NODES_VARIABLE: Final = "KIND_NODES"
# The file is part of this repository; its nodes are a list at the end.
_NODE: Final = re.compile(r"(?m)^(?=\s*- role:)")


def kind_config(environment: Mapping[str, str]) -> tuple[str, int]:
    """Return kind's configuration with the nodes that KIND_NODES asks for, and their number.

    Raises:
        ClusterError: KIND_NODES is not a number from 1 to the number of nodes in the file.
    """
    head, *nodes = _NODE.split(KIND_CONFIG.read_text("utf-8"))
    wanted = environment.get(NODES_VARIABLE) or str(len(nodes))
    if not wanted.isdecimal() or not 1 <= int(wanted) <= len(nodes):
        raise ClusterError(f"{NODES_VARIABLE} must be a number from 1 to {len(nodes)}")
    return "".join([head, *nodes[: int(wanted)]]), int(wanted)
