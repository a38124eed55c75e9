"""The node's subtree of control groups, on folders that look like a hierarchy."""

from pathlib import Path

import pytest

from localcluster.cgroups import CgroupTree


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    for controller in (
        "cpu",
        "cpuacct",
        "cpuset",
        "memory",
        "devices",
        "freezer",
        "pids",
        "unified",
    ):
        (tmp_path / controller).mkdir()
        (tmp_path / controller / "cgroup.procs").touch()
    for knob, value in (("cpuset.cpus", "0-1"), ("cpuset.mems", "0")):
        (tmp_path / "cpuset" / knob).write_text(value)
    return tmp_path


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "cgroup.procs").touch()
    (tmp_path / "cgroup.subtree_control").touch()
    return tmp_path


def test_version_1_gets_a_folder_in_each_hierarchy_and_a_usable_cpuset(version_1: Path) -> None:
    tree = CgroupTree("node-x", version_1)
    tree.create()
    assert (version_1 / "memory" / "node-x").is_dir()
    assert (version_1 / "cpuset" / "node-x" / "cpuset.cpus").read_text() == "0-1"
    assert tree.kubelet_root == "/node-x"
    assert tree.entering() == []
    assert tree.problems() == []


def test_removal_takes_the_whole_subtree_and_is_repeatable(version_1: Path) -> None:
    tree = CgroupTree("node-x", version_1)
    for controller in ("memory", "unified"):
        (version_1 / controller / "node-x" / "pods" / "one").mkdir(parents=True)
    tree.remove()
    tree.remove()
    assert not list(version_1.rglob("node-x"))


def test_version_2_hands_controllers_on_and_starts_the_node_in_its_folder(version_2: Path) -> None:
    tree = CgroupTree("node-x", version_2)
    assert tree.problems() == []
    tree.create()
    assert (version_2 / "node-x").is_dir()
    assert (version_2 / "cgroup.subtree_control").read_text() == "+pids"
    assert tree.kubelet_root == "/"
    assert tree.entering()[-1] == str(version_2 / "node-x" / "cgroup.procs")


def test_missing_controllers_are_named(version_2: Path) -> None:
    (version_2 / "cgroup.controllers").write_text("cpu io\n")
    assert CgroupTree("x", version_2).problems() == ["the cgroup controllers cpuset, memory, pids"]
