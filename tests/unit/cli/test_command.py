"""The `mailtopic` command itself."""

from importlib.metadata import version

from typer.testing import CliRunner

from mailtopic_cli.__main__ import app


def test_the_version_is_that_of_the_package() -> None:
    answer = CliRunner().invoke(app, ["--version"])
    assert (answer.exit_code, answer.output) == (0, f"mailtopic {version('mailtopic-cli')}\n")
