"""What the original consumer's variables say, for the peers in Python."""

import os
import ssl
from typing import Final

BROKERS: Final = os.environ["KAFKA_BROKERS"]
TOPIC: Final = os.environ["KAFKA_TOPIC"]
GROUP: Final = os.environ["KAFKA_GROUP"]
HOST: Final = os.environ["MAIL_HOST"]
PORT: Final = int(os.environ["MAIL_PORT"])
SENDER: Final = os.environ["MAIL_USER"]
CONNECTIONS: Final = int(os.environ["CONNECTIONS"])


def tls() -> ssl.SSLContext:
    """Return a context that checks the relay's certificate; SSL_CERT_FILE names the authority."""
    return ssl.create_default_context()
