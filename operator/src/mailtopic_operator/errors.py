"""Errors of the operator's running half.

The tree::

    OperatorError(Exception)
    ├── KubeError                      the Kubernetes API refused one request
    │   ├── KubeUnavailable(ConnectionError)   it didn't answer, or is too busy; try again
    │   ├── KubeNotFound               the object isn't there
    │   ├── KubeConflict               somebody else changed the object meanwhile
    │   ├── KubeForbidden              RBAC doesn't allow it
    │   └── KubeRefused                the object itself is refused
    └── LeadershipLost                 another replica may act by now; this one must end
"""


class OperatorError(Exception):
    """Anything that the operator's own code raises on purpose."""


class KubeError(OperatorError):
    """The Kubernetes API refused one request; the text is one line and quotes no object."""


class KubeUnavailable(KubeError, ConnectionError):  # noqa: N818 - it says what is the matter
    """The API didn't answer, or is too busy; the same request may be made again."""


class KubeNotFound(KubeError):  # noqa: N818 - it says what is the matter
    """The object, or its whole kind, isn't there."""


class KubeConflict(KubeError):  # noqa: N818 - it says what is the matter
    """The object isn't what it was when it was read."""


class KubeForbidden(KubeError):  # noqa: N818 - it says what is the matter
    """RBAC, or an admission plugin, doesn't allow it."""


class KubeRefused(KubeError):  # noqa: N818 - it says what is the matter
    """The API server finds the object invalid; trying again without a change is pointless."""


class LeadershipLost(OperatorError):  # noqa: N818 - it says what is the matter
    """The lease couldn't be renewed in time."""
