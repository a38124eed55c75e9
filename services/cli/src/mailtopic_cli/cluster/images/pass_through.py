"""Passes this machine's package index settings to a build as secrets: never into an image.

Environment variables or files may set the index, proxy and certificates for pip and uv. A build
sees them as mounted files during a RUN instruction; no layer, history or label holds them.
"""

import configparser
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_PASSED_ON = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT|RETRIES|PROXY|KEYRING_PROVIDER)"
    r"|UV_(INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_STRATEGY|INSECURE_HOST"
    r"|HTTP_TIMEOUT|NATIVE_TLS|SYSTEM_CERTS|KEYRING_PROVIDER|INDEX_[A-Z0-9_]+_(USERNAME|PASSWORD))"
    r"|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy"
)
_BUNDLE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
_CA_IN_BUILD = "/run/secrets/build-ca"


@contextmanager
def build_secrets(environ: Mapping[str, str]) -> Iterator[dict[str, Path]]:
    """Yield private files with the secrets `build-env` and `build-ca`, removed afterwards."""
    with TemporaryDirectory(prefix="mailtopic-build-") as folder:
        secrets = {"build-env": Path(folder) / "build-env"}
        bundle = _certificates(environ)
        if bundle:
            secrets["build-ca"] = Path(folder) / "build-ca"
            secrets["build-ca"].write_bytes(bundle)
        text = build_environment(environ, has_certificates=bool(bundle))
        secrets["build-env"].write_text(text, "utf-8")
        yield secrets


def build_environment(environ: Mapping[str, str], *, has_certificates: bool) -> str:
    """The script for a build's shell: one `export NAME=value` a line."""
    values = {**_from_pip_files(environ), **_from_uv_file(environ)}
    values |= {name: value for name, value in environ.items() if _PASSED_ON.fullmatch(name)}
    if has_certificates:
        values |= {"SSL_CERT_FILE": _CA_IN_BUILD, "PIP_CERT": _CA_IN_BUILD}
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _certificates(environ: Mapping[str, str]) -> bytes | None:
    named = [environ[name] for name in _BUNDLE_VARIABLES if environ.get(name)]
    for path in (*named, *_SYSTEM_BUNDLES):
        if Path(path).is_file():
            return Path(path).read_bytes()
    return None


def _from_pip_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The index settings of pip's files as variables; a later file wins, as for pip itself."""
    home = Path(environ.get("HOME", "/"))
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [
        Path("/etc/pip.conf"),
        Path("/etc/xdg/pip/pip.conf"),
        home / ".pip" / "pip.conf",
        config_home / "pip" / "pip.conf",
    ]
    if environ.get("PIP_CONFIG_FILE"):
        files.append(Path(environ["PIP_CONFIG_FILE"]))
    parser = configparser.RawConfigParser()
    parser.read(files, "utf-8")
    found: dict[str, str] = {}
    for section in ("global", "install"):
        for key, value in parser.items(section) if parser.has_section(section) else ():
            name = f"PIP_{key.upper().replace('-', '_')}"
            if _PASSED_ON.fullmatch(name):
                found[name] = " ".join(value.split())
    return found


def _from_uv_file(environ: Mapping[str, str]) -> dict[str, str]:
    """The index settings of uv's own file as variables."""
    home = Path(environ.get("HOME", "/"))
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    named = environ.get("UV_CONFIG_FILE")
    files = [Path(named)] if named else [config_home / "uv/uv.toml", Path("/etc/uv/uv.toml")]
    settings = next((tomllib.loads(f.read_text("utf-8")) for f in files if f.is_file()), {})
    found: dict[str, str] = {}
    indexes = settings.get("index", [])
    others = [_named(index) for index in indexes if not index.get("default")]
    for index in indexes:
        if index.get("default"):
            found["UV_DEFAULT_INDEX"] = _named(index)
    if others:
        found["UV_INDEX"] = " ".join(others)
    for key in ("index-url", "extra-index-url"):
        if key in settings:
            value = settings[key]
            name = f"UV_{key.upper().replace('-', '_')}"
            found[name] = " ".join(value) if isinstance(value, list) else str(value)
    return found


def _named(index: Mapping[str, str]) -> str:
    return f"{index['name']}={index['url']}" if index.get("name") else index["url"]
