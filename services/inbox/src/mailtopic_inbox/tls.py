"""The server side of STARTTLS."""

import ssl
from pathlib import Path

from mailtopic_runtime import SettingError

_CERT_SETTING = "MAILTOPIC_INBOX__TLS_CERT_FILE"
_KEY_SETTING = "MAILTOPIC_INBOX__TLS_KEY_FILE"


def server_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate. The files are read once, here.

    Raises:
        SettingError: a file can't be read, or the two are no pair.
    """
    for name, path in ((_CERT_SETTING, cert_file), (_KEY_SETTING, key_file)):
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingError(name, f"the file {path} can't be read: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Never ask for a passphrase: there is no terminal to type it in.
        context.load_cert_chain(cert_file, key_file, password=lambda: b"")
    except ssl.SSLError:
        problem = f"{cert_file} and {key_file} are no PEM certificate with its key"
        raise SettingError(_CERT_SETTING, problem) from None
    return context
