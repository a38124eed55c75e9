"""The kinds of Kubernetes objects that the operator reads or writes, and their API paths."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of namespaced objects.

    Attributes:
        is_optional: it needs a CRD that a cluster may lack.
        only_with: the optional kind without which no object of this kind concerns the operator.
    """

    api_version: str
    kind: str
    plural: str
    is_optional: bool = False
    only_with: str | None = None

    @property
    def group(self) -> str:
        """The API group; empty for the core one."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The API version, without its group."""
        return self.api_version.rpartition("/")[2]

    @property
    def root(self) -> str:
        """The API path of this version of the group."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """Return the path of an object, or of a list in one namespace or all."""
        inside = f"/namespaces/{namespace}" if namespace else ""
        return f"{self.root}{inside}/{self.plural}" + (f"/{name}" if name else "")


MAIL_TOPIC: Final = Kind("mailtopic.dev/v1alpha1", "MailTopic", "mailtopics")
MAIL_REPLAY: Final = Kind("mailtopic.dev/v1alpha1", "MailReplay", "mailreplays", is_optional=True)

DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
SECRET: Final = Kind("v1", "Secret", "secrets")
SERVICE_ACCOUNT: Final = Kind("v1", "ServiceAccount", "serviceaccounts")
DISRUPTION_BUDGET: Final = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY: Final = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
JOB: Final = Kind("batch/v1", "Job", "jobs", only_with="MailReplay")
POD: Final = Kind("v1", "Pod", "pods")
SCALED_OBJECT: Final = Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects", is_optional=True)
TRIGGER_AUTHENTICATION: Final = Kind(
    "keda.sh/v1alpha1", "TriggerAuthentication", "triggerauthentications", is_optional=True
)

OWN_KINDS: Final = (MAIL_TOPIC, MAIL_REPLAY)
CHILD_KINDS: Final = (
    DEPLOYMENT,
    SERVICE_ACCOUNT,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    SCALED_OBJECT,
    TRIGGER_AUTHENTICATION,
    JOB,
)
OPTIONAL_KINDS: Final = tuple(kind.kind for kind in (*OWN_KINDS, *CHILD_KINDS) if kind.is_optional)
_BY_KIND: Final = {kind.kind: kind for kind in (*OWN_KINDS, *CHILD_KINDS, POD, SECRET, CONFIG_MAP)}

MANAGED_BY: Final = "mailtopic-operator"
"""The field manager of every write, and the managed-by label of every child."""

OWNER_LABEL: Final = "mailtopic.dev/mailtopic"
"""The label of every child that holds its MailTopic's name."""

CHILD_SELECTOR: Final = f"app.kubernetes.io/managed-by={MANAGED_BY}"
"""The label selector by which children are watched and listed."""


def watched_kinds(served: Collection[str]) -> tuple[Kind, ...]:
    """Return the kinds to read and to watch.

    Args:
        served: the OPTIONAL_KINDS that the API server serves.
    """
    return tuple(
        kind
        for kind in (*OWN_KINDS, *CHILD_KINDS)
        if (not kind.is_optional or kind.kind in served)
        and (kind.only_with is None or kind.only_with in served)
    )


def kind_of(kind: str) -> Kind:
    """Return a kind by its name."""
    return _BY_KIND[kind]
