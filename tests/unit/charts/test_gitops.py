"""What GitOps tools render without a cluster is the same bytes each time, and has no key in it."""

import pytest

from support.helm import CHARTS, Helm, Manifest
from support.kustomize import Kubectl, find_kubectl
from support.requirements import require

_SECURED = CHARTS / "mailtopic" / "ci" / "secured-values.yaml"
_GITOPS = {"global.generateSecrets": False}


@pytest.mark.parametrize("secured", [False, True], ids=["defaults", "secured"])
def test_each_render_is_the_same_bytes(newest_helm: Helm, *, secured: bool) -> None:
    chosen = ["--values", str(_SECURED)] if secured else []
    command = ["template", "mailtopic", str(CHARTS / "mailtopic"), "--namespace", "mail", *chosen]
    command += ["--set-json", "global.generateSecrets=false"]
    renders = {newest_helm.run(*command) for _ in range(3)}
    assert len(renders) == 1


@pytest.mark.parametrize("overlay", ["one-node", "production"])
def test_the_secrets_that_pods_need_are_those_of_the_script(
    newest_helm: Helm, overlay: str
) -> None:
    made = _kubectl().secrets(overlay)
    secured = overlay == "production"
    objects = newest_helm.template("mailtopic", _GITOPS, files=[_SECURED] if secured else [])
    assert [each for each in objects if each["kind"] == "Secret"] == []
    if secured:
        made |= _kubectl().secrets("one-node")
    for name in _named(objects):
        assert name in made, name


def test_a_chart_makes_secrets_unless_it_is_forbidden(newest_helm: Helm) -> None:
    objects = newest_helm.template("mailtopic")
    made = {each["metadata"]["name"] for each in objects if each["kind"] == "Secret"}
    assert made == {"mailtopic-sealing-keys", "mailtopic-signup-pepper", "mailtopic-inbox-tls"}


def _named(objects: list[Manifest]) -> set[str]:
    """The Secrets that pods mount or read."""
    names: set[str] = set()
    todo: list[object] = list(objects)
    while todo:
        match todo.pop():
            case {"secretName": str(name)} | {"secretKeyRef": {"name": str(name)}}:
                names.add(name)
            case {"secret": {"name": str(name)}}:
                names.add(name)
            case dict() as each:
                todo += each.values()
            case list() as several:
                todo += several
    return names


def _kubectl() -> Kubectl:
    kubectl = find_kubectl()
    if kubectl is None:
        require("charts", "there is no kubectl: `make cluster` builds it")
    return kubectl
