"""A mutating admission webhook, as clusters have them."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme

Json = dict[str, Any]


class _Handler(BaseHTTPRequestHandler):
    operations: Sequence[Json] = ()

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        patch = base64.b64encode(json.dumps(self.operations).encode()).decode()
        response = {"uid": review["request"]["uid"], "allowed": True}
        answer = {
            "apiVersion": review["apiVersion"],
            "kind": "AdmissionReview",
            "response": {**response, "patchType": "JSONPatch", "patch": patch},
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def webhook(name: str, namespace: str, operations: Sequence[Json]) -> Iterator[Json]:
    """Serve a webhook that patches Deployments by RFC 6902; yield its configuration."""
    authority = trustme.CA()
    handler = type("Handler", (_Handler,), {"operations": operations})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield _configuration(name, namespace, server.server_port, authority)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _configuration(name: str, namespace: str, port: int, authority: trustme.CA) -> Json:
    bundle = base64.b64encode(authority.cert_pem.bytes()).decode()
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "deployments.example.test",
                "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": bundle},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["deployments"],
                    }
                ],
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
            }
        ],
    }
