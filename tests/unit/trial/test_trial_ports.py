"""Which ports a trial takes."""

import pytest

from mailtopic_cli.cluster.errors import ClusterError
from mailtopic_cli.cluster.trial.ports import VARIABLE, Ports


@pytest.fixture(autouse=True)
def no_base_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def test_the_usual_ports_are_those_of_the_demo() -> None:
    assert Ports.choose(None) == Ports(signup=8080, inbox=8025)


def test_a_base_on_the_command_line_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "18080")
    assert Ports.choose(None) == Ports(signup=18080, inbox=18081)
    assert Ports.choose(19000) == Ports(signup=19000, inbox=19001)


@pytest.mark.parametrize("base", [0, 65_535, 70_000])
def test_a_base_that_leaves_no_two_ports_is_refused(base: int) -> None:
    with pytest.raises(ClusterError, match=f"^{base} can't be the first of two ports"):
        Ports.choose(base)


def test_a_base_in_the_environment_that_is_no_number_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "some")
    with pytest.raises(ClusterError, match=f"^{VARIABLE} has to be a port, and not some$"):
        Ports.choose(None)
