"""The charts, rendered by every Helm client of this machine."""

import pytest

from support.helm import Helm, helm_clients
from support.requirements import require

CLIENTS = helm_clients()


@pytest.fixture(params=CLIENTS or [None], ids=[f"helm{each.major}" for each in CLIENTS] or ["none"])
def helm(request: pytest.FixtureRequest) -> Helm:
    """Each Helm client in turn; without any, the test is skipped."""
    return _needed(request.param)


@pytest.fixture
def newest_helm() -> Helm:
    """The newest Helm client, where both render the same."""
    return _needed(CLIENTS[-1] if CLIENTS else None)


def _needed(client: Helm | None) -> Helm:
    if client is None:
        require("charts", "there is no helm: `make cluster` builds it, or name one: MAILTOPIC_HELM")
    return client
