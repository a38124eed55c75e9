"""Find out why Kafka can't be reached: what each address answers.

A client library only says that it has tried them all. Asked for when there is trouble, never
otherwise: it opens connections of its own.
"""

import asyncio
import contextlib
import math
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from mailtopic_client.adapters.kafka_words import NO_BROKER

_ANSWER_S = 4.0
_MOST_ADDRESSES = 5
_REFUSED_LOGIN = "the broker refuses the login (wrong user or password)"
_NO_LISTENER = "connection refused"
_HUNG_UP = (ssl.SSLError, ConnectionError, errors.KafkaError, EOFError)
_LASTS_S = 10.0
_PROTOCOL = "MAILTOPIC_KAFKA__SECURITY_PROTOCOL"


class _AddressError(Exception):
    """One address can't be used; the text says why."""


class Diagnosis:
    """Why Kafka can't be reached; checked at most every ten seconds.

    Args:
        client_kwargs: how to reach Kafka, as aiokafka's keyword arguments.
    """

    def __init__(self, client_kwargs: Mapping[str, Any]) -> None:
        self._client_kwargs = client_kwargs
        self._reason: str | None = None
        self._until_s = -math.inf

    async def reason(self) -> str:
        """Return in one line what is wrong; call it only when something is."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._until_s:
            self._reason = await diagnose(self._client_kwargs)
            self._until_s = asyncio.get_running_loop().time() + _LASTS_S
        # Reachable again since the failure: check again at the next one.
        if self._reason is None:
            self._until_s = -math.inf
        return self._reason or NO_BROKER


async def diagnose(client_kwargs: Mapping[str, Any]) -> str | None:
    """Return in one line why Kafka can't be reached; None if every broker can be.

    The line names addresses, and never a user or a password. It takes some seconds where an
    address doesn't answer; five are tried at most.

    Args:
        client_kwargs: how to reach Kafka, as aiokafka's keyword arguments.
    """
    hosts: Sequence[tuple[str, int, Any]] = collect_hosts(
        client_kwargs["bootstrap_servers"], randomize=False
    )
    asked = [_named_by(host, port, client_kwargs) for host, port, _ in hosts[:_MOST_ADDRESSES]]
    troubles: list[str] = []
    for (host, port, _), answer in zip(hosts, await asyncio.gather(*asked), strict=False):
        address = _address(host, port)
        if not isinstance(answer, str):
            return await _unreachable(answer, address, client_kwargs)
        troubles.append(f"{address}: {answer}")
    # Nothing listens at any address: there is no more detail.
    is_plain = all(trouble.endswith(_NO_LISTENER) for trouble in troubles)
    return NO_BROKER if is_plain else f"{NO_BROKER} ({'; '.join(troubles)})"


async def _unreachable(
    brokers: Sequence[tuple[int, str, int]], asked: str, kwargs: Mapping[str, Any]
) -> str | None:
    """Return which of the brokers can't be reached by the address that they advertise."""
    some = brokers[:_MOST_ADDRESSES]
    answers = await asyncio.gather(*(_named_by(host, port, kwargs) for _, host, port in some))
    troubles = [
        f"broker {node} at {_address(host, port)}: {answer}"
        for (node, host, port), answer in zip(some, answers, strict=True)
        if isinstance(answer, str)
    ]
    if not troubles:
        return None
    return (
        f"{asked} answers, but names addresses that don't (advertised.listeners): "
        f"{'; '.join(troubles)}"
    )


async def _named_by(
    host: str, port: int, kwargs: Mapping[str, Any]
) -> Sequence[tuple[int, str, int]] | str:
    """Return the brokers that an address names, or what is wrong with it."""
    try:
        async with _connected(host, port, kwargs) as connection:
            return await _brokers(connection, host, port, kwargs)
    except _AddressError as trouble:
        return str(trouble)


@contextlib.asynccontextmanager
async def _connected(
    host: str, port: int, kwargs: Mapping[str, Any]
) -> AsyncIterator[AIOKafkaConnection]:
    try:
        async with asyncio.timeout(_ANSWER_S):
            connection = await create_conn(host, port, **_options(kwargs))
    except Exception as error:  # noqa: BLE001 - a diagnosis reports every error
        raise _AddressError(await _words(error, host, port, kwargs)) from None
    try:
        yield connection
    finally:
        await _close(connection)


async def _brokers(
    connection: AIOKafkaConnection, host: str, port: int, kwargs: Mapping[str, Any]
) -> list[tuple[int, str, int]]:
    try:
        async with asyncio.timeout(_ANSWER_S):
            response = await connection.send(MetadataRequest([]))
    except TimeoutError:
        raise _AddressError(
            f"it is connected, and does not answer within {_ANSWER_S:g} s"
        ) from None
    except (errors.KafkaError, OSError):
        raise _AddressError(await _closed(host, port, kwargs)) from None
    return [(broker[0], broker[1], broker[2]) for broker in response.brokers]


async def _words(error: BaseException, host: str, port: int, kwargs: Mapping[str, Any]) -> str:
    if isinstance(error, errors.UnsupportedSaslMechanismError):
        return await _mechanisms(host, port, kwargs)
    if isinstance(error, TimeoutError):
        return await _silent(host, port, kwargs)
    known = _plain_words(error, kwargs)
    if known is None and isinstance(error, _HUNG_UP):
        known = await _closed(host, port, kwargs)
    if known is None and isinstance(error, OSError):
        known = error.strerror
    return known or type(error).__name__


def _plain_words(error: BaseException, kwargs: Mapping[str, Any]) -> str | None:
    words: dict[type[BaseException], str] = {
        errors.SaslAuthenticationFailed: _REFUSED_LOGIN,
        errors.AuthenticationFailedError: _REFUSED_LOGIN,
        errors.IllegalSaslStateError: f"it takes no login, but {_PROTOCOL} is {_protocol(kwargs)}",
        socket.gaierror: "the host name is not found",
        ConnectionRefusedError: _NO_LISTENER,
    }
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    return next((text for kind, text in words.items() if isinstance(error, kind)), None)


async def _closed(host: str, port: int, kwargs: Mapping[str, Any]) -> str:
    """Say why a broker closes the connection: usually the two sides use different protocols."""
    protocol = _protocol(kwargs)
    if "SSL" in protocol:
        if await _speaks_plainly(host, port):
            return f"it speaks no TLS, but {_PROTOCOL} is {protocol}"
        return "it ends the TLS handshake"
    if await _speaks_tls(host, port):
        return f"it speaks TLS, but {_PROTOCOL} is {protocol}"
    if protocol == "PLAINTEXT" and await _offered(host, port, kwargs) is not None:
        return f"it wants a login, but {_PROTOCOL} is {protocol}"
    return "it closes the connection"


async def _silent(host: str, port: int, kwargs: Mapping[str, Any]) -> str:
    """Say why a broker doesn't answer: one with TLS may wait for the rest of a ClientHello."""
    if "SSL" not in _protocol(kwargs) and await _speaks_tls(host, port):
        return f"it speaks TLS, but {_PROTOCOL} is {_protocol(kwargs)}"
    return f"no answer within {_ANSWER_S:g} s"


async def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent: only whether there is TLS
    try:
        async with asyncio.timeout(_ANSWER_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        # An alert is TLS as well: the broker may require a certificate of the client.
        return "ALERT" in (error.reason or "")
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    await asyncio.sleep(0)  # it is closed in the loop's next iteration
    return True


async def _speaks_plainly(host: str, port: int) -> bool:
    plain = {"security_protocol": "PLAINTEXT", "bootstrap_servers": ()}
    try:
        async with asyncio.timeout(_ANSWER_S):
            connection = await create_conn(host, port, **_options(plain))
    except Exception:  # noqa: BLE001 - whatever it is, it isn't a broker without TLS
        return False
    await _close(connection)
    return True


async def _mechanisms(host: str, port: int, kwargs: Mapping[str, Any]) -> str:
    wanted = kwargs["sasl_mechanism"]
    offered = await _offered(host, port, kwargs)
    others = f", only {', '.join(offered)}" if offered else ""
    return f"the broker does not offer the SASL mechanism {wanted}{others}"


async def _offered(host: str, port: int, kwargs: Mapping[str, Any]) -> list[str] | None:
    """Return the SASL mechanisms that a broker offers; None if it takes no login."""
    is_tls = "SSL" in _protocol(kwargs)
    plain = {**kwargs, "security_protocol": "SSL" if is_tls else "PLAINTEXT"}
    try:
        async with asyncio.timeout(_ANSWER_S):
            connection = await create_conn(host, port, **_options(plain))
            try:
                request = SaslHandShakeRequest(kwargs.get("sasl_mechanism", "SCRAM-SHA-512"))
                response = await connection.send(request)
            finally:
                await _close(connection)
    except Exception:  # noqa: BLE001 - there is no diagnosis then
        return None
    is_refusal = errors.for_code(response.error_code) is errors.IllegalSaslStateError
    return None if is_refusal else sorted(response.enabled_mechanisms)


async def _close(connection: AIOKafkaConnection) -> None:
    # TLS waits for the peer's close_notify, which may never come.
    await asyncio.wait({connection.close()}, timeout=_ANSWER_S)


def _options(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "ssl_context",
        "security_protocol",
        "sasl_mechanism",
        "sasl_plain_username",
        "sasl_plain_password",
        "sasl_oauth_token_provider",
    )
    options = {name: kwargs[name] for name in names if name in kwargs}
    return {
        "security_protocol": "PLAINTEXT",
        **options,
        "client_id": "mailtopic-diagnosis",
        "request_timeout_ms": round(_ANSWER_S * 1000),
    }


def _protocol(kwargs: Mapping[str, Any]) -> str:
    return str(kwargs.get("security_protocol", "PLAINTEXT"))


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
