"""A CNI plugin: a pod's network is ready only when the agent has put its policies in force.

It stands last in the chain and changes nothing. It is run by its path and for every pod, so it uses
the standard library only.
"""

import json
import os
import socket
import sys
import time

_TIMEOUT_S = 20
_POLL_S = 0.05


def main() -> None:
    """Answer one call of the CNI (specification 0.4.0)."""
    command = os.environ["CNI_COMMAND"]
    if command == "VERSION":
        _answer({"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]})
        return
    config = json.load(sys.stdin)
    if command != "ADD":
        return
    try:
        _announce(config)
    except OSError as error:
        _answer({"cniVersion": "0.4.0", "code": 11, "msg": f"node agent: {error}"})
        sys.exit(1)
    _answer(config["prevResult"])


def _answer(document: dict) -> None:  # type: ignore[type-arg]
    json.dump(document, sys.stdout)


def _announce(config: dict) -> None:  # type: ignore[type-arg]
    arguments = dict(
        item.split("=", 1) for item in os.environ.get("CNI_ARGS", "").split(";") if "=" in item
    )
    addresses = [entry["address"].split("/")[0] for entry in config["prevResult"]["ips"]]
    pod = {
        "namespace": arguments["K8S_POD_NAMESPACE"],
        "name": arguments["K8S_POD_NAME"],
        "address": addresses[0],
    }
    with _connect(config["socket"]) as connection:
        connection.sendall(json.dumps(pod).encode() + b"\n")
        if connection.recv(16) != b"applied\n":
            raise OSError("the policies of the pod could not be put in force")


def _connect(path: str) -> socket.socket:
    """Connect to the agent, which may have started a moment ago."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    while True:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_TIMEOUT_S)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_POLL_S)
        else:
            return connection


if __name__ == "__main__":
    main()
