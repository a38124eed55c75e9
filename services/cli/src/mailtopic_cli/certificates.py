"""The certificate of a devstack's inbox: a CA of its own, made at the first start and kept."""

from pathlib import Path

from mailtopic_cli.private_files import write_private


def ensure_certificates(folder: Path) -> Path:
    """Make `ca.pem` and `server.pem` (key and certificate, mode 0600) if they are missing.

    The certificate is for localhost and 127.0.0.1. The CA's own key is not kept, so nothing
    more can be signed with it.

    Returns:
        The path of the CA's certificate: for senders to trust.
    """
    ca_file, server_file = folder / "ca.pem", folder / "server.pem"
    if not (ca_file.exists() and server_file.exists()):
        import trustme  # noqa: PLC0415 - needed once per state directory

        folder.mkdir(parents=True, exist_ok=True)
        ca = trustme.CA(organization_name="MailTopic devstack")
        server = ca.issue_cert("localhost", "127.0.0.1")
        write_private(server_file, server.private_key_and_cert_chain_pem.bytes())
        # Written last: its presence means that the pair is complete.
        part = ca_file.with_suffix(".part")
        part.write_bytes(ca.cert_pem.bytes())
        part.replace(ca_file)
    return ca_file
