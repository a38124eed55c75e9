"""Errors of the operator at run time.

The tree::

    OperatorError(Exception)
    ├── KubeError                      the Kubernetes API refused one request
    │   ├── KubeUnavailable(ConnectionError)   no answer, or too busy; try again
    │   ├── KubeNotFound               the object doesn't exist
    │   ├── KubeConflict               the object was changed meanwhile
    │   ├── KubeForbidden              RBAC doesn't allow it
    │   └── KubeRefused                the object itself is invalid
    └── LeadershipLost                 another replica may be acting; this one must end
"""


class OperatorError(Exception):
    """Anything that the operator's own code raises on purpose."""


class KubeError(OperatorError):
    """The Kubernetes API refused one request; the text is one line and quotes no object."""


class KubeUnavailable(KubeError, ConnectionError):  # noqa: N818 - the name says what is wrong
    """The API didn't answer, or is too busy; the same request may be repeated."""


class KubeNotFound(KubeError):  # noqa: N818 - the name says what is wrong
    """The object, or its whole kind, doesn't exist."""


class KubeConflict(KubeError):  # noqa: N818 - the name says what is wrong
    """The object has changed since it was read."""


class KubeForbidden(KubeError):  # noqa: N818 - the name says what is wrong
    """RBAC, or an admission plugin, doesn't allow it."""


class KubeRefused(KubeError):  # noqa: N818 - the name says what is wrong
    """The API server finds the object invalid; a retry without a change is pointless."""


class LeadershipLost(OperatorError):  # noqa: N818 - the name says what is wrong
    """The lease couldn't be renewed in time."""
