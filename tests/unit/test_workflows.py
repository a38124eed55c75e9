"""What the workflows run, anybody can run; what they use of others can't change under them."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.requirements import require

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
TARGETS = set(re.findall(r"(?m)^([a-z-]+):.*##", (ROOT / "Makefile").read_text("utf-8")))
_ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
# Logins, a builder, the name of a version, and the page of a release: the platform's own.
_PLATFORMS = ("printf %s", "docker buildx create", "echo", "gh release create")


def _steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text("utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_only_runs_targets_of_make(workflow: Path) -> None:
    commands = [step["run"] for step in _steps(workflow) if "run" in step]
    ours = [command for command in commands if not command.startswith(_PLATFORMS)]
    assert ours
    for command in ours:
        assert re.match(r"make [a-z-]+( [A-Z_]+=.*)?$", command), command
        assert command.split()[1] in TARGETS, command


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_named_by_its_commit(workflow: Path) -> None:
    used = re.findall(r"uses: (.+)", workflow.read_text("utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[0-9.]+", action), action


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_only_unless_a_job_says_more(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text("utf-8"))["permissions"] == {"contents": "read"}


@pytest.mark.timeout(300)
def test_actionlint_has_nothing_to_say() -> None:
    linter = [shutil.which("actionlint")] if shutil.which("actionlint") else [*_go(), _ACTIONLINT]
    # Built by Go the first time.
    done = subprocess.run(  # noqa: S603 - the linter
        [*linter, *WORKFLOWS], check=False, capture_output=True, text=True, timeout=280
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def _go() -> list[str]:
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin")
    if go is None:
        require("workflows", f"there is neither actionlint nor Go to build {_ACTIONLINT} with")
    return [go, "run"]
