"""How to reach Kafka."""

import re
import ssl
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from mailtopic_runtime import SettingError, SettingsGroup

_SERVER = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")


class KafkaSettings(SettingsGroup):
    """How to reach Kafka; below MAILTOPIC_KAFKA__."""

    bootstrap_servers: tuple[str, ...] = Field(min_length=1)
    """Bootstrap brokers, as host:port,host:port."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Whether connections are encrypted and log in."""

    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How to log in, where the protocol is SASL_…"""

    username: str | None = None
    """The user name to log in with."""

    password: SecretStr | None = None
    """The password that belongs to the username."""

    ca_file: str | None = None
    """PEM file of the authorities that sign brokers' certificates; unset: the system's."""

    request_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds that one request to a broker may take before the broker counts as unavailable."""

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_servers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_SERVER.fullmatch(server) for server in servers):
            raise ValueError("must be host:port, or several of them separated by commas")
        return servers

    def client_kwargs(self) -> dict[str, Any]:
        """Return the keyword arguments that every aiokafka client takes.

        Raises:
            SettingError: SASL without a user or password, or an unusable CA file.
        """
        kwargs: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap_servers),
            "security_protocol": self.security_protocol,
            "request_timeout_ms": round(self.request_timeout_s * 1000),
        }
        if self.security_protocol.endswith("SSL"):
            kwargs["ssl_context"] = self._ssl_context()
        if self.security_protocol.startswith("SASL"):
            kwargs |= self._login()
        return kwargs

    def _login(self) -> dict[str, Any]:
        if not self.username:
            raise SettingError("MAILTOPIC_KAFKA__USERNAME", "is required for SASL")
        if self.password is None:
            raise SettingError("MAILTOPIC_KAFKA__PASSWORD", "is required for SASL")
        return {
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password.get_secret_value(),
        }

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or "it holds no PEM certificate"
            raise SettingError(
                "MAILTOPIC_KAFKA__CA_FILE", f"{self.ca_file} can't be read: {reason}"
            ) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context
