"""How a build gets to know this machine's package index, and that nobody else does."""

from pathlib import Path

import pytest

from mailtopic_cli.cluster.images.pass_through import build_environment, build_secrets

URL = "https://user:word@index.example/simple"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "empty.toml").write_text("")
    return tmp_path


def environment(home: Path, **more: str) -> str:
    # A file of uv's own keeps the machine's out of the test.
    environ = {"HOME": str(home), "UV_CONFIG_FILE": str(home / "empty.toml"), **more}
    return build_environment(environ, has_certificates=False)


def test_indexes_proxies_and_their_logins_are_passed_on_and_nothing_else(home: Path) -> None:
    text = environment(
        home,
        PIP_INDEX_URL=URL,
        UV_DEFAULT_INDEX=URL,
        UV_INDEX_INNER_PASSWORD="it's one",
        HTTPS_PROXY="http://proxy.example:3128",
        no_proxy="localhost",
        MAILTOPIC_SMTP__PASSWORD="unrelated",
        PIP_FIND_LINKS="/a/folder/of/this/machine",
        AWS_SECRET_ACCESS_KEY="unrelated",
    )
    assert f"export PIP_INDEX_URL={URL}\n" in text
    assert f"export UV_DEFAULT_INDEX={URL}\n" in text
    assert "export HTTPS_PROXY=http://proxy.example:3128\n" in text
    assert "export no_proxy=localhost\n" in text
    assert """export UV_INDEX_INNER_PASSWORD='it'"'"'s one'\n""" in text
    assert "unrelated" not in text
    assert "folder" not in text


def test_pips_files_are_read_and_a_variable_wins(home: Path) -> None:
    (home / "pip.conf").write_text(
        f"[global]\nindex-url = {URL}\ncert = /a/file\nextra-index-url =\n  {URL}/a\n  {URL}/b\n"
    )
    text = environment(home, PIP_CONFIG_FILE=str(home / "pip.conf"))
    assert f"export PIP_INDEX_URL={URL}\n" in text
    assert f"export PIP_EXTRA_INDEX_URL='{URL}/a {URL}/b'\n" in text
    assert "/a/file" not in text
    text = environment(home, PIP_CONFIG_FILE=str(home / "pip.conf"), PIP_INDEX_URL="https://b/")
    assert "export PIP_INDEX_URL=https://b/\n" in text


def test_uvs_file_is_read(home: Path) -> None:
    (home / "empty.toml").write_text(
        f'[[index]]\nurl = "{URL}"\ndefault = true\n[[index]]\nname = "in"\nurl = "{URL}/in"\n'
    )
    text = environment(home)
    assert f"export UV_DEFAULT_INDEX={URL}\n" in text
    assert f"export UV_INDEX=in={URL}/in\n" in text


def test_the_files_of_the_secrets_are_gone_after_the_build(home: Path) -> None:
    bundle = home / "bundle.pem"
    bundle.write_text("certificates")
    environ = {
        "HOME": str(home),
        "UV_CONFIG_FILE": str(home / "empty.toml"),
        "SSL_CERT_FILE": str(bundle),
    }
    with build_secrets(environ) as secrets:
        assert secrets["build-ca"].read_text() == "certificates"
        assert "export SSL_CERT_FILE=/run/secrets/build-ca\n" in secrets["build-env"].read_text()
        assert str(bundle) not in secrets["build-env"].read_text()
        assert secrets["build-env"].parent.stat().st_mode & 0o077 == 0
    assert not any(path.exists() for path in secrets.values())
