"""Kubeconfig files: how each part of the cluster, and its users, reach the API server."""

import base64
from pathlib import Path

import yaml


def kubeconfig(*, pki: Path, identity: str, server: str) -> str:
    """Return a kubeconfig with the certificates in it, so that the file can be copied anywhere.

    Args:
        pki: the folder that `write_pki` made.
        identity: the name of a client certificate there.
        server: the API server's address.
    """
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "mailtopic-local",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": _encoded(pki / "ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": identity,
                "user": {
                    "client-certificate-data": _encoded(pki / f"{identity}.crt"),
                    "client-key-data": _encoded(pki / f"{identity}.key"),
                },
            }
        ],
        "contexts": [
            {"name": "mailtopic-local", "context": {"cluster": "mailtopic-local", "user": identity}}
        ],
        "current-context": "mailtopic-local",
    }
    return yaml.safe_dump(document, sort_keys=False)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
