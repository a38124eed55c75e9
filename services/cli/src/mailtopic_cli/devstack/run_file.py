"""`run.json`: what is running, for `mailtopic status` and for tests of the devstack.

    {"version": 1, "pid": …, "started_at_ms": …, "ready_at_ms": … | null, "data_dir": "…",
     "urls": {"signup": "http://…", …}, "kafka": "127.0.0.1:9092", "smtp": "127.0.0.1:1025",
     "ports": {…}, "ca_file": "…", "sealing_keys_file": "…", "pepper_keys_file": "…",
     "processes": {"sender-1": {"pid": …, "started_at_ms": …, "restarts": 0, "log": "…",
                                "ready_url": "http://…" | null}, …}}

A `pid` of null means that the process is down and will be started again.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mailtopic_cli.devstack.ports import HOST, Ports
from mailtopic_cli.devstack.state_dir import StateDir

VERSION = 1


@dataclass(slots=True)
class ProcessEntry:
    """One supervised process."""

    log: str
    ready_url: str | None
    pid: int | None = None
    started_at_ms: int | None = None
    restarts: int = 0


@dataclass(slots=True)
class RunFile:
    """The content of `run.json`; `save` writes all of it or nothing."""

    state: StateDir
    ports: Ports
    pid: int
    started_at_ms: int
    ready_at_ms: int | None = None
    processes: dict[str, ProcessEntry] = field(default_factory=dict)

    def save(self) -> None:
        """Write the file; readers never see half of it."""
        part = self.state.run_file.with_suffix(".part")
        part.write_text(json.dumps(self._document(), indent=2) + "\n", "utf-8")
        part.replace(self.state.run_file)

    def remove(self) -> None:
        """Remove the file: nothing is running."""
        self.state.run_file.unlink(missing_ok=True)

    def _document(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "pid": self.pid,
            "started_at_ms": self.started_at_ms,
            "ready_at_ms": self.ready_at_ms,
            "data_dir": str(self.state.path),
            "urls": urls(self.ports),
            "kafka": f"{HOST}:{self.ports.kafka}",
            "smtp": f"{HOST}:{self.ports.smtp}",
            "ports": asdict(self.ports),
            "ca_file": str(self.state.ca_file),
            "sealing_keys_file": str(self.state.sealing_keys),
            "pepper_keys_file": str(self.state.pepper_keys),
            "processes": {name: asdict(entry) for name, entry in self.processes.items()},
        }


def urls(ports: Ports) -> dict[str, str]:
    """Addresses to open in a browser."""
    found = {
        "signup": f"http://{HOST}:{ports.signup}/",
        "inbox": f"http://{HOST}:{ports.inbox}/",
        "signup metrics": f"http://{HOST}:{ports.signup}/metrics",
    }
    for number, port in enumerate(ports.senders, start=1):
        found[f"sender-{number} metrics"] = f"http://{HOST}:{port}/metrics"
    return found


def read_run_file(path: Path) -> dict[str, Any] | None:
    """The content of a `run.json`; None if it is missing or can't be parsed."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    understood = isinstance(document, dict) and document.get("version") == VERSION
    return document if understood else None
