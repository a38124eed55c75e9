"""What can go wrong with the local cluster, in words for the terminal."""


class ClusterError(Exception):
    """The command can't go on; the text says why and what helps, without a traceback."""

    exit_code = 2


class PrerequisiteError(ClusterError):
    """The machine lacks something; the text names all of it."""

    exit_code = 3


class ClientError(ClusterError):
    """A kubectl or Helm command failed; the text has the command and what it wrote."""
