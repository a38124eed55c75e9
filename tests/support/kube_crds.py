"""The CRDs of a cluster that tests share."""

from collections.abc import Iterator
from contextlib import contextmanager

from localcluster.client import ClusterClient


@contextmanager
def crds_as_before(cluster: ClusterClient) -> Iterator[None]:
    """Take away, after the block, the CRDs that it brought: they are the cluster's."""
    before = _names(cluster)
    try:
        yield
    finally:
        for name in _names(cluster) - before:
            cluster.kubectl("delete", "crd", name)


def _names(cluster: ClusterClient) -> set[str]:
    found = cluster.kubectl("get", "crds", "--output=name").split()
    return {name.partition("/")[2] for name in found if name.endswith(".mailtopic.dev")}
