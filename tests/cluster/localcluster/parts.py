"""What the tests add to `mailtopic cluster`: the one-node cluster, and buildah."""

from mailtopic_cli.cluster.choice import CLUSTERS
from mailtopic_cli.cluster.commands import Parts
from mailtopic_cli.cluster.images.engines import ENGINES
from mailtopic_cli.cluster.programs import Report
from mailtopic_cli.cluster.settings import Settings

from .buildah import BUILDAH
from .node_cluster import NodeCluster
from .node_settings import NodeSettings, cache_folder
from .toolchain import Toolchain


def _node(settings: Settings, report: Report) -> NodeCluster:
    return NodeCluster(NodeSettings(settings.state), Toolchain(cache_folder(), report), report)


PARTS = Parts({**CLUSTERS, "node": _node}, {**ENGINES, "buildah": BUILDAH})
