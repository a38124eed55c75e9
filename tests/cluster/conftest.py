"""The fixtures of this tier. They are defined where they are type-checked."""

from localcluster.fixtures import cluster, probe_image, pytest_collection_modifyitems

__all__ = ["cluster", "probe_image", "pytest_collection_modifyitems"]
