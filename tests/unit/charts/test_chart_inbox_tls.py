"""The certificate that the inbox's chart makes is one that senders accept."""

import base64
import ssl
from pathlib import Path

import pytest

from support.helm import Helm, find


@pytest.mark.parametrize("name", ["mailtopic-inbox", "mailtopic-inbox.mail.svc", "localhost"])
def test_a_strict_client_accepts_the_certificate(helm: Helm, tmp_path: Path, name: str) -> None:
    data = find(helm.template("inbox"), "Secret", "mailtopic-inbox-tls")["data"]
    for key, value in data.items():
        (tmp_path / key).write_bytes(base64.b64decode(value))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    client = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    # As Python 3.13 does by itself (RFC 5280).
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    assert shake_hands(server, client, name)


def test_a_client_of_another_name_refuses_it(newest_helm: Helm, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        test_a_strict_client_accepts_the_certificate(newest_helm, tmp_path, "another-inbox")


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bool:
    """Do a handshake in memory; whether both sides came to its end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = sides
    for _ in range(10):
        waiting = [side for side in waiting if not is_done(side)]
        if not waiting:
            return True
    return False


def is_done(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
