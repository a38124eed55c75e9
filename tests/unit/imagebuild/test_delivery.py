"""What is brought into a cluster, and when."""

from pathlib import Path

import pytest

from imagebuild.delivery import Target, find_target
from localcluster.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(tmp_path)
    settings.kubeconfig.write_text("keys of the first cluster")
    return settings


def test_where_no_cluster_was_brought_up_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "from_environment", lambda: Settings(tmp_path))
    assert find_target() == "no cluster is up"


def test_an_image_is_delivered_once_in_each_form(settings: Settings) -> None:
    target = Target(settings)
    assert target.lacks({"inbox": "1", "kafka": "1"}) == ["inbox", "kafka"]
    target.note({"inbox": "1", "kafka": "1"})
    assert target.lacks({"inbox": "1", "kafka": "1"}) == []
    assert target.lacks({"inbox": "2"}) == ["inbox"]
    target.note({"inbox": "2"})
    assert Target(settings).lacks({"inbox": "2", "kafka": "1"}) == []


def test_a_new_cluster_in_the_same_place_has_nothing(settings: Settings) -> None:
    Target(settings).note({"inbox": "1"})
    settings.kubeconfig.write_text("keys of the second cluster")
    assert Target(settings).lacks({"inbox": "1"}) == ["inbox"]


def test_a_note_that_cannot_be_read_counts_as_none(settings: Settings) -> None:
    (settings.state / "delivered.json").write_text("{")
    assert Target(settings).lacks({"inbox": "1"}) == ["inbox"]


def test_a_cluster_that_was_given_gets_its_images_from_a_registry(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.mode_file.write_text("given\n")
    monkeypatch.setattr(Settings, "from_environment", lambda: settings)
    assert find_target() == "the cluster was given: push the images where it pulls from"
