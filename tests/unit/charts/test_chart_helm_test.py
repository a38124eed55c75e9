"""What `helm test` runs fails where it can't do what it is for, and tells nothing it must not."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from support.helm import CHARTS, Helm

SCRIPT = CHARTS / "mailtopic" / "files" / "sign_up.py"
ENVIRONMENT = {
    "SIGNUP_URL": "http://127.0.0.1:9",
    "INBOX_URL": "http://127.0.0.1:9",
    "TIMEOUT_S": "0",
}
CODE = "314159"


class World:
    """A signup service and an inbox, as far as the script sees them."""

    def __init__(self) -> None:
        self.address = ""
        self.text = f"Your code: {CODE}"
        self.state = "verified"
        self.verified_with = ""

    def call(self, url: str, body: dict[str, str] | None = None) -> Any:
        if url.endswith("/verify"):
            assert body is not None
            self.verified_with = body["code"]
            return {"state": self.state}
        if body is not None:
            self.address = body["email"]
            return {"challenge_id": "c1"}
        if "/message/" in url:
            return {"Text": self.text}
        return {"messages": [{"ID": "1", "To": [{"Address": self.address}]}]}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("sign_up", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def world(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(script, "call", made.call)
    return made


def test_it_verifies_the_code_of_the_mail_and_prints_neither_code_nor_address(
    script: ModuleType, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    script.main()
    assert world.verified_with == CODE
    printed = capsys.readouterr().out
    assert printed.count("ok: ") == 3
    assert CODE not in printed
    assert world.address not in printed


def no_code(world: World) -> None:
    world.text = "Hello"


def another_state(world: World) -> None:
    world.state = "pending"


@pytest.mark.parametrize("change", [no_code, another_state])
def test_it_fails_where_the_address_is_not_verified(
    script: ModuleType, world: World, change: Callable[[World], None]
) -> None:
    change(world)
    with pytest.raises(SystemExit, match=r"^FAILED: "):
        script.main()


def test_it_fails_where_nobody_answers() -> None:
    done = subprocess.run(  # noqa: S603 - a script of ours
        [sys.executable, SCRIPT],
        check=False,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("FAILED: signup was accepted: no answer")
    assert "@" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "values",
    [
        {"sender.smtp.host": "smtp.example.com", "sender.from.address": "a@example.com"},
        {"signup.enabled": False},
        {"tests.enabled": False},
    ],
    ids=["a real relay", "no signup", "switched off"],
)
def test_it_is_only_there_where_mails_go_to_the_inbox(
    newest_helm: Helm, values: dict[str, Any]
) -> None:
    objects = newest_helm.template("mailtopic", values)
    hooks = [each["metadata"].get("annotations", {}).get("helm.sh/hook") for each in objects]
    assert "test" not in hooks
