"""The fixtures of this tier. They are defined where they are type-checked."""

from localcluster.fixtures import cluster, one_node, probe_image, pytest_collection_modifyitems
from support.kind_clusters import engine
from support.kube_images import images

__all__ = [
    "cluster",
    "engine",
    "images",
    "one_node",
    "probe_image",
    "pytest_collection_modifyitems",
]
