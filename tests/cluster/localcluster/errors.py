"""What can go wrong with the local cluster, told to the person who runs it."""


class ClusterError(Exception):
    """The command can't go on; the text says why and what helps, without a traceback."""


class NodeEndedError(ClusterError):
    """The node, or a part of it, ended by itself; the text names the part and quotes its log."""
