"""What can go wrong with the local cluster, in words for the terminal."""


class ClusterError(Exception):
    """The command can't continue; the text says why and how to fix it. No traceback is shown."""

    exit_code = 2


class PrerequisiteError(ClusterError):
    """Prerequisites are missing on this machine; the text lists all of them."""

    exit_code = 3


class ClientError(ClusterError):
    """A kubectl or Helm command failed; the text has the command and what it wrote."""
