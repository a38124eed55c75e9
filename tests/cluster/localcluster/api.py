"""A small client of the Kubernetes API for the cluster's own processes: standard library only.

The `kubernetes` package would do as well, at a second of start and eighty megabytes for the agent.
"""

import base64
import http.client
import json
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

_TIMEOUT_S = 10
# The server ends a watch after this time; the client begins a new one.
_WATCH_S = 300

Json = dict[str, Any]


class ApiError(Exception):
    """The server refused a request.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """Requests to one API server as one identity; a connection for each.

    Raises (all methods):
        ApiError: the server answered with an error.
        OSError: the server can't be reached.
    """

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        user = document["users"][0]["user"]
        address = urlsplit(cluster["server"])
        assert address.hostname is not None
        self._host, self._port = address.hostname, address.port
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode("ascii")
        self._context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pair:  # ssl takes a client's key from files only
            pair.write(base64.b64decode(user["client-certificate-data"]))
            pair.write(base64.b64decode(user["client-key-data"]))
            pair.flush()
            self._context.load_cert_chain(pair.name)

    def request(self, method: str, path: str, body: Json | None = None) -> Any:
        """Return the decoded answer; text that is no JSON comes back as it is."""
        connection = self._connect(_TIMEOUT_S)
        try:
            content = _answer(connection, method, path, body).read()
        finally:
            connection.close()
        try:
            return json.loads(content)
        except ValueError:
            return content.decode()

    def watch(self, path: str, resource_version: str) -> Iterator[Json]:
        """Yield the changes after a version, as they happen, until the server ends the watch.

        Raises:
            ApiError: also 410, when the version is too old: list again.
        """
        query = f"watch=1&resourceVersion={resource_version}&timeoutSeconds={_WATCH_S}"
        connection = self._connect(_WATCH_S + _TIMEOUT_S)
        try:
            for line in _answer(connection, "GET", f"{path}?{query}", None):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(status.get("code", 500), status.get("message", ""))
                yield event
        finally:
            connection.close()

    def _connect(self, timeout_s: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout_s, context=self._context
        )


def _answer(
    connection: http.client.HTTPSConnection, method: str, path: str, body: Json | None
) -> http.client.HTTPResponse:
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, headers)
        response = connection.getresponse()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    if response.status >= http.client.BAD_REQUEST:
        raise ApiError(response.status, _message(response.read()))
    return response


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace")[:500]
