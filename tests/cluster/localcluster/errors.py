"""What can go wrong with the local cluster, told to the person who runs it."""

EXIT_CODE = 2
EXIT_CODE_PREREQUISITES = 3


class ClusterError(Exception):
    """The command can't go on; the text says why and what helps, without a traceback."""

    exit_code = EXIT_CODE


class PrerequisiteError(ClusterError):
    """The machine lacks something; the text lists all of it."""

    exit_code = EXIT_CODE_PREREQUISITES


class NodeEndedError(ClusterError):
    """The node, or a part of it, ended by itself; the text names the part and quotes its log."""
