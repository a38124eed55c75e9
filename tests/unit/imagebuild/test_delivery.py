"""What is brought into a cluster, and when."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mailtopic_cli.cluster.errors import ClusterError
from mailtopic_cli.cluster.images.builder import Built
from mailtopic_cli.cluster.images.delivery import deliver
from mailtopic_cli.cluster.settings import Settings


@dataclass
class Loaded:
    """A cluster that notes what is loaded into it."""

    mode: str = "kind"
    serves: bool = True
    names: list[str] = field(default_factory=list)
    refuses: str = ""

    def up(self) -> None:
        """Do nothing."""

    def down(self) -> None:
        """Do nothing."""

    def load(self, archives: list[Path]) -> None:
        names = [archive.stem for archive in archives]
        if self.refuses in names:
            raise ClusterError("the engine has stopped")
        self.names += names

    def is_up(self) -> bool:
        return self.serves

    def describe(self) -> list[str]:
        return []


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(tmp_path)
    settings.kubeconfig.write_text("keys of the first cluster")
    return settings


def built(**fingerprints: str) -> list[Built]:
    return [Built(name, name, value, 1, 1) for name, value in fingerprints.items()]


def delivered(settings: Settings, **fingerprints: str) -> list[str]:
    cluster = Loaded()
    deliver(built(**fingerprints), cluster, settings, str)
    return cluster.names


def test_an_image_is_delivered_once_in_each_form(settings: Settings) -> None:
    assert delivered(settings, inbox="1", kafka="1") == ["inbox", "kafka"]
    assert delivered(settings, inbox="1", kafka="1") == []
    assert delivered(settings, inbox="2") == ["inbox"]
    assert delivered(settings, inbox="2", kafka="1") == []


def test_what_was_loaded_before_a_failure_is_not_loaded_again(settings: Settings) -> None:
    with pytest.raises(ClusterError, match="stopped"):
        deliver(built(inbox="1", kafka="1"), Loaded(refuses="kafka"), settings, str)
    assert delivered(settings, inbox="1", kafka="1") == ["kafka"]


def test_a_new_cluster_in_the_same_place_has_nothing(settings: Settings) -> None:
    delivered(settings, inbox="1")
    settings.kubeconfig.write_text("keys of the second cluster")
    assert delivered(settings, inbox="1") == ["inbox"]


def test_a_note_that_cannot_be_read_counts_as_none(settings: Settings) -> None:
    (settings.state / "delivered.json").write_text("{")
    assert delivered(settings, inbox="1") == ["inbox"]


@pytest.mark.parametrize(
    ("cluster", "reason"),
    [
        (None, "no cluster is up"),
        (Loaded("given"), "push the images where it pulls from"),
        (Loaded(serves=False), "the cluster doesn't answer"),
    ],
)
def test_where_nothing_can_be_loaded_the_reason_is_said(
    cluster: Loaded | None, reason: str, settings: Settings
) -> None:
    said: list[str] = []
    deliver(built(inbox="1"), cluster, settings, said.append)
    assert reason in said[0]
    assert cluster is None or cluster.names == []
    assert not settings.delivered_file.exists()
