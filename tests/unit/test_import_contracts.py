"""The import contracts of pyproject.toml refuse what they are there to refuse."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_MEMBERS = [*(ROOT / "services").iterdir(), ROOT / "operator", ROOT / "observability"]


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of every member, in a folder of its own."""
    folder = tmp_path_factory.mktemp("members")
    for member in _MEMBERS:
        shutil.copytree(
            member / "src", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def _lint(copies: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(  # noqa: S603 - our own linter
        [command, "--no-logo", "--no-cache", "--config", ROOT / "pyproject.toml"],
        env={**os.environ, "PYTHONPATH": str(copies)},
        cwd=copies,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_imports_as_they_are_are_allowed(copies: Path) -> None:
    linted = _lint(copies)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("mailtopic_signup/service.py", "import mailtopic_signup.adapters.sql_outbox"),
        ("mailtopic_signup/domain/suppression.py", "import mailtopic_signup.adapters.sql_tables"),
        ("mailtopic_sender/domain/schedule.py", "import mailtopic_sender.engine.lanes"),
        ("mailtopic_sender/engine/relays/mailer.py", "import mailtopic_sender.adapters.smtp_relay"),
        ("mailtopic_signup/throttle.py", "import sqlalchemy"),
        ("mailtopic_client/mail_sender.py", "import aiokafka"),
        ("mailtopic_cli/dlq/commands.py", "import aiokafka"),
        ("mailtopic_contract/record.py", "import mailtopic_runtime"),
        ("mailtopic_operator/engine/engine.py", "import kubernetes"),
        ("mailtopic_cli/inbox.py", "import mailtopic_inbox"),
    ],
)
def test_a_wrong_import_is_refused(copies: Path, module: str, line: str) -> None:
    file = copies / module
    text = file.read_text()
    try:
        file.write_text(f"{text}\n{line}\n")
        linted = _lint(copies)
    finally:
        file.write_text(text)
    assert linted.returncode == 1, linted.stdout + linted.stderr
    assert f"{line.removeprefix('import ')} (l." in " ".join(linted.stdout.split())
