"""What a machine lacks is told at once."""

from pathlib import Path

import pytest

from localcluster.cgroups import CgroupTree
from localcluster.prerequisites import problems


def test_everything_that_is_missing_is_in_one_list_with_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = problems(CgroupTree("x", mount=tmp_path / "absent"))
    for program in ("etcd", "containerd", "runc", "iptables", "nft", "ip", "nsenter"):
        assert f"the program {program}" in found
    (line,) = [line for line in found if "apt-get install" in line]
    for package in ("etcd-server", "containerd", "iptables", "nftables", "iproute2", "util-linux"):
        assert package in line.split()
    assert any("cgroup controllers cpu, cpuacct, cpuset, memory" in line for line in found)
