"""The health scripts for Argo CD say of a resource what its conditions say."""

from pathlib import Path
from typing import Any

import lupa
import pytest

_SCRIPTS = Path(__file__).parents[2] / "docs" / "guides" / "gitops"


def _health(script: str, status: dict[str, Any] | None) -> str:
    lua = lupa.LuaRuntime()
    resource: dict[str, Any] = {"metadata": {"generation": 2}}
    if status is not None:
        resource["status"] = status
    lua.globals().obj = lua.table_from(resource, recursive=True)
    return str(lua.execute((_SCRIPTS / f"{script}.lua").read_text("utf-8"))["status"])


def _conditions(generation: int = 2, **statuses: str) -> dict[str, Any]:
    conditions = [
        {"type": kind, "status": status, "message": kind, "observedGeneration": generation}
        for kind, status in statuses.items()
    ]
    return {"conditions": conditions}


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (None, "Progressing"),
        ({}, "Progressing"),
        (_conditions(), "Progressing"),
        (_conditions(Ready="True"), "Healthy"),
        (_conditions(Ready="False", Reconciling="True"), "Progressing"),
        (_conditions(Ready="Unknown"), "Progressing"),
        (_conditions(Ready="False", Stalled="True"), "Degraded"),
        (_conditions(Ready="True", Stalled="False"), "Healthy"),
        (_conditions(1, Ready="True"), "Progressing"),
    ],
)
def test_a_mailtopics_health(status: dict[str, Any] | None, health: str) -> None:
    assert _health("mailtopic", status) == health


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (None, "Progressing"),
        (_conditions(Reconciling="True"), "Progressing"),
        (_conditions(Complete="False", Failed="False"), "Progressing"),
        (_conditions(Complete="True"), "Healthy"),
        (_conditions(Failed="True"), "Degraded"),
        (_conditions(Stalled="True"), "Degraded"),
    ],
)
def test_a_mailreplays_health(status: dict[str, Any] | None, health: str) -> None:
    assert _health("mailreplay", status) == health
