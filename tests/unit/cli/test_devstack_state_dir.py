"""The directory of a devstack: made, locked, emptied; and its keys."""

import base64
import json
from pathlib import Path

import pytest

from mailtopic_cli.devstack.errors import BadStart
from mailtopic_cli.devstack.keys import ensure_keys
from mailtopic_cli.devstack.state_dir import StateDir, default_state_dir
from mailtopic_contract import KeyRing


def test_the_directory_follows_the_xdg_convention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state_dir() == tmp_path / "mailtopic"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_state_dir() == tmp_path / ".local" / "state" / "mailtopic"


def test_data_stays_for_the_next_run_and_fresh_deletes_it(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "new" / "state")
    with state.in_use(fresh=False):
        state.kafka.mkdir()
        state.database.write_text("users")
    with state.in_use(fresh=False):
        assert state.database.read_text() == "users"
    with state.in_use(fresh=True):
        assert not state.database.exists()
        assert not state.kafka.exists()


def test_fresh_does_not_follow_links_out_of_the_directory(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    state = StateDir(tmp_path / "state")
    with state.in_use(fresh=False):
        state.kafka.symlink_to(outside, target_is_directory=True)
    with state.in_use(fresh=True):
        assert not state.kafka.exists()
    assert (outside / "precious").exists()


@pytest.mark.parametrize("fresh", [False, True])
def test_a_directory_of_somebody_else_is_refused_and_left_alone(
    tmp_path: Path, *, fresh: bool
) -> None:
    (tmp_path / "thesis.tex").touch()
    with (
        pytest.raises(BadStart, match="give an empty one: --data-dir"),
        StateDir(tmp_path).in_use(fresh=fresh),
    ):
        pass
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_second_user_is_refused_even_with_fresh_and_deletes_nothing(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    assert not state.is_in_use()
    with state.in_use(fresh=False):
        state.database.write_text("users")
        assert state.is_in_use()
        with pytest.raises(BadStart, match="already runs on") as refused, state.in_use(fresh=True):
            pass
        assert "\n" not in str(refused.value)
        assert state.database.exists()
    assert not state.is_in_use()


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(BadStart, match="choose another: --data-dir"),
        StateDir(tmp_path / "file" / "state").in_use(fresh=False),
    ):
        pass


def test_keys_are_made_once_and_are_their_owners_only(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    ensure_keys(state)
    contents = [path.read_bytes() for path in (state.sealing_keys, state.pepper_keys)]
    ensure_keys(state)
    assert [path.read_bytes() for path in (state.sealing_keys, state.pepper_keys)] == contents
    for path in (state.sealing_keys, state.pepper_keys):
        assert path.stat().st_mode & 0o777 == 0o600
    assert KeyRing.load(state.sealing_keys).active
    pepper = json.loads(state.pepper_keys.read_text())
    assert len(base64.b64decode(pepper["keys"][pepper["active"]])) == 32
