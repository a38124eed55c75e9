"""What `mailtopic up` writes to a file or a pipe."""

import pytest

from mailtopic_cli.devstack.console import PlainConsole


def test_of_the_progress_only_changes_of_subject_are_written_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = PlainConsole()
    console.progress("Fetching: 1 of 46")
    console.progress("Fetching: 2 of 46")
    console.progress("Starting: kafka")
    console.say("Ready.")
    assert capsys.readouterr().out == "Fetching: 1 of 46…\nStarting: kafka…\nReady.\n"


def test_the_same_progress_is_not_repeated_but_more_of_it_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailtopic_cli.devstack.console._PLAIN_PROGRESS_EVERY_S", 0)
    console = PlainConsole()
    console.progress("Starting: a, b")
    console.progress("Starting: a, b")
    console.progress("Starting: b")
    assert capsys.readouterr().out == "Starting: a, b…\nStarting: b…\n"
