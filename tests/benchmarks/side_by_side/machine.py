"""What was measured on: the machine's shape and everybody's versions."""

import json
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

from benchmarks.side_by_side.places import HERE, NODE
from benchmarks.side_by_side.tools import run

_PACKAGES = ("aiokafka", "aiosmtplib", "uvloop")


def shape() -> dict[str, str]:
    """Return the machine in words."""
    memory_kb = int(re.findall(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[0])
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "memory": f"{memory_kb * 1024 / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def versions(runtimes: dict[str, Path]) -> dict[str, str]:
    """Return the versions of what ran."""
    found = {"Python": platform.python_version()}
    found |= {f"{name} (ours)": version(name) for name in _PACKAGES}
    pinned = (HERE / "peers/python/requirements.txt").read_text()
    for name in (*_PACKAGES, "faststream"):
        found[f"{name} (peers)"] = re.findall(rf"^{name}==(\S+)", pinned, re.MULTILINE)[0]
    if "node" in runtimes:
        found["Node.js"] = run(runtimes["node"], "--version").strip().lstrip("v")
        lock = json.loads((NODE / "package-lock.json").read_text())["packages"]
        for name in ("kafkajs", "nodemailer"):
            found[name] = lock[f"node_modules/{name}"]["version"]
    return found


def _processor() -> str:
    names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return names[0].strip() if names else platform.machine()
